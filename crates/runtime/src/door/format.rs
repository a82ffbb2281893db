//! In which form a body's records are, as its content type says.

use weir_schema::Form;

/// The forms that the door reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Ndjson,
    /// A JSON array of objects, or one object.
    Json,
    /// A header line, then one record per row (RFC 4180).
    Csv,
    /// An Avro object container file.
    AvroContainer,
    /// Avro messages behind each other, each with what names its schema in front.
    AvroMessages(Form),
}

/// A content type that the door does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "content type `{found}` is not one that records come in: use application/x-ndjson, application/json, text/csv, application/avro \
     (a container file), or application/avro with form=single-object, registry, md5 or envelope"
)]
pub struct UnknownFormat {
    found: String,
}

impl Format {
    /// Reads a content type.
    ///
    /// # Errors
    /// If it names no form that the door reads.
    pub fn from_content_type(text: &str) -> Result<Self, UnknownFormat> {
        let error = || UnknownFormat { found: text.to_owned() };
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let form = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("form").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        });
        let format = match essence.as_str() {
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/json-lines" => Self::Ndjson,
            "application/json" => Self::Json,
            "text/csv" | "application/csv" => Self::Csv,
            "application/avro" | "application/vnd.apache.avro" | "avro/binary" => match form.as_deref() {
                None | Some("container") => Self::AvroContainer,
                Some("single-object") => Self::AvroMessages(Form::SingleObject),
                Some("registry") => Self::AvroMessages(Form::RegistryId),
                Some("md5") => Self::AvroMessages(Form::Md5),
                Some("envelope") => Self::AvroMessages(Form::Envelope),
                Some(_) => return Err(error()),
            },
            _ => return Err(error()),
        };
        Ok(format)
    }
}

/// How a body is compressed, as its content encoding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952; several members may follow each other.
    Gzip,
    /// RFC 8878; several frames may follow each other.
    Zstd,
}

/// A content encoding that the door does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("content encoding `{found}` is not one that the door reads: use gzip, zstd, or none")]
pub struct UnknownEncoding {
    found: String,
}

impl Encoding {
    /// Reads a content encoding; none is `identity`.
    ///
    /// # Errors
    /// If it names none that the door reads.
    pub fn from_header(text: Option<&str>) -> Result<Self, UnknownEncoding> {
        match text.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Ok(Self::Identity),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip),
            Some("zstd") => Ok(Self::Zstd),
            Some(found) => Err(UnknownEncoding { found: found.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_and_their_parameters_are_read() {
        let read = |text| Format::from_content_type(text).ok();
        assert_eq!(read("application/x-ndjson; charset=utf-8"), Some(Format::Ndjson));
        assert_eq!(read("Text/CSV"), Some(Format::Csv));
        assert_eq!(read("application/avro"), Some(Format::AvroContainer));
        assert_eq!(read("application/avro; form=\"single-object\""), Some(Format::AvroMessages(Form::SingleObject)));
        assert_eq!(read("application/avro; form=xml"), None);
        assert_eq!(read("application/x-www-form-urlencoded"), None);
        assert_eq!(read(""), None);
    }
}
