//! Tests of the registry: a table of commands, and snapshots.

use weir_types::{SequenceNumber, Timestamp};

use super::*;

const ONE: &str = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}"#;
const TWO: &str = r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 0}]}"#;
const BAD: &str =
    r#"{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "c", "type": "int"}]}"#;

fn subject(name: &str) -> SubjectName {
    name.parse().unwrap()
}

fn apply(registry: &mut Registry, command: Command) -> Outcome {
    // What goes through the log must come out of it the same.
    let json = serde_json::to_string(&command).unwrap();
    let at = At { sequence: SequenceNumber(0), time: Timestamp(0) };
    registry.apply(at, serde_json::from_str(&json).unwrap())
}

fn register(registry: &mut Registry, name: &str, schema: &str) -> Outcome {
    apply(registry, Command::Register { subject: subject(name), schema: schema.to_owned() })
}

fn place(outcome: Outcome) -> (u32, u32, &'static str) {
    match outcome {
        Outcome::Registered(Registered { id, version, .. }) => (id.0, version, "new"),
        Outcome::Unchanged(Registered { id, version, .. }) => (id.0, version, "same"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_are_immutable_and_ids_are_of_texts() {
    let mut registry = Registry::default();
    assert_eq!(place(register(&mut registry, "s", ONE)), (1, 1, "new"));
    assert_eq!(place(register(&mut registry, "s", ONE)), (1, 1, "same"));
    assert_eq!(
        place(register(&mut registry, "s", &ONE.replace(": ", " :\n"))),
        (1, 1, "same"),
        "white space is no change"
    );
    assert_eq!(place(register(&mut registry, "s", TWO)), (2, 2, "new"));
    assert_eq!(place(register(&mut registry, "t", ONE)), (1, 1, "new"), "one text, one id");
    assert_eq!(place(register(&mut registry, "s", &ONE.replace("\"R\"", "\"R\", \"doc\": \"x\""))), (3, 3, "new"));
    let two = Schema::parse(TWO).unwrap();
    assert_eq!(registry.by_fingerprint(two.fingerprint()), Some(two.clone()));
    assert_eq!(registry.by_md5(&two.md5()), Some(two.clone()));
    assert_eq!(registry.by_id(SchemaId(2)), Some(two.clone()));
    assert_eq!((registry.by_id(SchemaId(0)), registry.by_id(SchemaId(9))), (None, None));
    assert_eq!(registry.id(&two), Some(SchemaId(2)));
    assert_eq!(registry.subjects(), [subject("s"), subject("t")]);
    assert_eq!(
        registry.versions(&subject("s")).iter().map(|version| (version.version, version.id.0)).collect::<Vec<_>>(),
        [(1, 1), (2, 2), (3, 3)]
    );
    assert_eq!(registry.latest(&subject("s")).map(|version| version.version), Some(3));
    assert_eq!(registry.version(&subject("s"), 2).map(|version| version.schema), Some(two));
    assert_eq!((registry.version(&subject("s"), 0), registry.latest(&subject("u"))), (None, None));
}

#[test]
fn incompatible_and_invalid_schemas_change_nothing() {
    let mut registry = Registry::default();
    register(&mut registry, "s", ONE);
    let before = registry.snapshot();
    match register(&mut registry, "s", BAD) {
        Outcome::Incompatible { level: Compatibility::Backward, reasons } => assert_eq!(reasons[0].path, "c"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(register(&mut registry, "s", "{"), Outcome::Invalid { .. }));
    assert_eq!(registry.snapshot(), before);
    let level = |subject, level| Command::SetCompatibility { subject, level };
    apply(&mut registry, level(None, Some(Compatibility::Forward)));
    assert_eq!(registry.compatibility(&subject("s")), Compatibility::Forward);
    assert_eq!(place(register(&mut registry, "s", BAD)), (2, 2, "new"));
    apply(&mut registry, level(Some(subject("s")), Some(Compatibility::Full)));
    assert_eq!(
        (registry.compatibility(&subject("s")), registry.default_compatibility()),
        (Compatibility::Full, Compatibility::Forward)
    );
    assert!(matches!(
        register(&mut registry, "s", "\"int\""),
        Outcome::Incompatible { level: Compatibility::Full, .. }
    ));
    apply(&mut registry, level(Some(subject("s")), None));
    assert_eq!(registry.compatibility(&subject("s")), Compatibility::Forward);
}

#[test]
fn deleting_is_soft_and_numbers_are_not_used_again() {
    let mut registry = Registry::default();
    register(&mut registry, "s", ONE);
    register(&mut registry, "s", TWO);
    let delete = |version| Command::DeleteVersion { subject: subject("s"), version };
    assert_eq!(apply(&mut registry, delete(2)), Outcome::Deleted { versions: vec![2] });
    assert_eq!(apply(&mut registry, delete(2)), Outcome::UnknownVersion);
    assert_eq!(registry.latest(&subject("s")).map(|version| version.version), Some(1));
    assert!(registry.by_id(SchemaId(2)).is_some(), "its data stay readable");
    assert_eq!(place(register(&mut registry, "s", TWO)), (2, 3, "new"));
    assert_eq!(
        apply(&mut registry, Command::DeleteSubject { subject: subject("s") }),
        Outcome::Deleted { versions: vec![1, 3] }
    );
    assert_eq!(apply(&mut registry, Command::DeleteSubject { subject: subject("s") }), Outcome::UnknownSubject);
    assert_eq!(
        apply(&mut registry, Command::DeleteVersion { subject: subject("x"), version: 1 }),
        Outcome::UnknownSubject
    );
    assert_eq!(registry.subjects(), []);
    assert_eq!(place(register(&mut registry, "s", BAD)), (3, 4, "new"), "nothing is left to be compatible with");
}

#[test]
fn a_snapshot_restores_everything() {
    let mut registry = Registry::default();
    register(&mut registry, "s", ONE);
    register(&mut registry, "s", TWO);
    register(&mut registry, "t", "\"string\"");
    apply(&mut registry, Command::DeleteVersion { subject: subject("s"), version: 1 });
    apply(&mut registry, Command::SetCompatibility { subject: Some(subject("t")), level: Some(Compatibility::None) });
    apply(&mut registry, Command::SetCompatibility { subject: None, level: Some(Compatibility::Full) });
    let snapshot = registry.snapshot();
    let mut restored = Registry::restore(&snapshot).unwrap();
    assert_eq!(restored.snapshot(), snapshot);
    assert_eq!(restored.versions(&subject("s")), registry.versions(&subject("s")));
    assert_eq!(restored.by_md5(&Schema::parse(ONE).unwrap().md5()), registry.by_id(SchemaId(1)));
    assert_eq!(place(register(&mut restored, "s", TWO)), (2, 2, "same"));
    assert_eq!(place(register(&mut restored, "t", "\"int\"")), (4, 2, "new"));
    let error = |text: &str| Registry::restore(text.as_bytes()).unwrap_err().reason;
    assert_eq!(
        error(r#"{"version": 2, "compatibility": "NONE", "schemas": [], "subjects": {}}"#),
        "its version is 2, and 1 is known here"
    );
    assert_eq!(
        error(r#"{"version": 1, "compatibility": "NONE", "schemas": ["x"], "subjects": {}}"#),
        "schema 1: this is not JSON: expected value at line 1 column 1"
    );
    assert_eq!(
        error(
            r#"{"version": 1, "compatibility": "NONE", "schemas": [], "subjects": {"s": {"versions": [{"id": 1}]}}}"#
        ),
        "a version has the schema 1, which is missing"
    );
}

#[test]
fn the_oldest_forms_of_commands_stay_readable() {
    for text in [
        r#"{"command":"register","subject":"s","schema":"\"int\""}"#,
        r#"{"command":"set_compatibility","subject":null,"level":"FULL_TRANSITIVE"}"#,
        r#"{"command":"delete_version","subject":"s","version":1}"#,
        r#"{"command":"delete_subject","subject":"s"}"#,
    ] {
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Command>(text).unwrap()).unwrap(), text);
    }
}
