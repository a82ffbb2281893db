//! Tests of the wire forms.

use proptest::prelude::*;

use super::*;

struct Known(Schema);

impl Lookup for Known {
    fn by_fingerprint(&self, fingerprint: Fingerprint) -> Option<Schema> {
        (fingerprint == self.0.fingerprint()).then(|| self.0.clone())
    }

    fn by_id(&self, id: SchemaId) -> Option<Schema> {
        (id == SchemaId(258)).then(|| self.0.clone())
    }

    fn by_md5(&self, md5: &[u8; 16]) -> Option<Schema> {
        (*md5 == self.0.md5()).then(|| self.0.clone())
    }
}

fn known() -> Known {
    Known(Schema::parse("\"string\"").unwrap())
}

fn messages(payload: &[u8]) -> [(Form, Vec<u8>); 4] {
    let schema = known().0;
    let mut single = Vec::new();
    write_single_object(schema.fingerprint(), payload, &mut single);
    let mut envelope = Vec::new();
    crate::binary::write_bytes(b"org.example.Name", &mut envelope);
    crate::binary::write_long(schema.fingerprint().0 as i64, &mut envelope);
    crate::binary::write_bytes(payload, &mut envelope);
    [
        (Form::SingleObject, single),
        (Form::RegistryId, [&[0, 0, 0, 1, 2], payload].concat()),
        (Form::Md5, [&schema.md5()[..], payload].concat()),
        (Form::Envelope, envelope),
    ]
}

#[test]
fn every_form_is_taken_apart() {
    for (form, message) in messages(&[4, b'h', b'i']) {
        let two = message.repeat(2);
        let decoded = decode(form, &two, &known()).unwrap();
        assert_eq!((decoded.payload, decoded.used), (&[4, b'h', b'i'][..], message.len()), "{form:?}");
        assert_eq!(decoded.schema, known().0);
        let wanted = matches!(form, Form::SingleObject | Form::RegistryId).then_some(form);
        assert_eq!(Form::detect(&message), wanted, "{form:?}");
        for cut in 0..message.len() {
            let error = decode(form, &message[..cut], &known()).unwrap_err();
            assert!(!matches!(error, WireError::UnknownSchema { .. }), "{form:?} cut at {cut}: {error}");
        }
    }
}

#[test]
fn single_object_is_apache_avros() {
    let text = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}"#;
    let oracle = apache_avro::Schema::parse_str(text).unwrap();
    let mut writer = apache_avro::GenericSingleObjectWriter::new_with_capacity(&oracle, 64).unwrap();
    let mut message = Vec::new();
    let value = apache_avro::types::Value::Record(vec![("a".into(), apache_avro::types::Value::String("x".into()))]);
    writer.write_value(value, &mut message).unwrap();
    let decoded = decode(Form::SingleObject, &message, &Known(Schema::parse(text).unwrap())).unwrap();
    assert_eq!(decoded.payload, [2, b'x']);
}

#[test]
fn unknown_schemas_are_told_from_broken_messages() {
    let table = [
        (
            Form::SingleObject,
            &b"\xc3\x01\x01\0\0\0\0\0\0\0x"[..],
            "the schema with fingerprint `0000000000000001` is not registered",
        ),
        (Form::RegistryId, b"\0\0\0\0\x07x", "the schema with id `7` is not registered"),
        (Form::Md5, &[0xab; 20], "the schema with MD5 `abababababababababababababababab` is not registered"),
        (
            Form::Envelope,
            b"\x02T\x02\x00",
            "the schema with fingerprint `0000000000000001` (data type `T`) is not registered",
        ),
        (
            Form::SingleObject,
            b"\xc3\x02\0\0\0\0\0\0\0\0",
            "this is no message in the form single object: it does not begin with C3 01",
        ),
        (Form::RegistryId, b"\x01\0\0\0\x07", "this is no message in the form registry id: it does not begin with 00"),
        (Form::Md5, b"short", "this is no message in the form MD5: the record ends inside this value"),
    ];
    for (form, bytes, error) in table {
        assert_eq!(decode(form, bytes, &known()).unwrap_err().to_string(), error);
    }
    let (_, message) = messages(&[4, 0xff, 0xff])[0].clone();
    assert_eq!(decode(Form::SingleObject, &message, &known()).unwrap_err().to_string(), "a text is not valid UTF-8");
    let (_, message) = messages(&[2, b'a', 9])[3].clone();
    assert_eq!(
        decode(Form::Envelope, &message, &known()).unwrap_err().to_string(),
        "this is no message in the form envelope: its data have 1 bytes more than one record"
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        for form in [Form::SingleObject, Form::RegistryId, Form::Md5, Form::Envelope] {
            let _ = decode(form, &bytes, &known());
        }
    }
}
