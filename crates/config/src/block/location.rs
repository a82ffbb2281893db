//! URLs of object stores and folders.

use url::Url;

use super::{Attributes, Spanned};
use crate::diagnostic::Report;
use crate::{Diagnostic, Place};

const SCHEMES: [&str; 10] = ["file", "s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https"];

/// Reads a URL; `None` if it was refused.
pub(crate) fn url(
    block: &Attributes<'_>,
    attribute: &str,
    text: &Spanned<String>,
    example: &str,
    report: &mut Report,
) -> Option<Url> {
    let refuse = |message: String, report: &mut Report| {
        let hint = format!("write a URL such as \"{example}\"; schemes: {}", SCHEMES.join(", "));
        block.refuse(attribute, message, hint, report);
        None
    };
    match Url::parse(&text.value) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let place = Place::masked(block.evaluator.source, text.span.clone());
            let message = format!("`{attribute}` holds a password, which would be shown in plans and logs");
            let hint = "remove the user and password: stores take theirs from the environment";
            report.push(Diagnostic::error(message).at(place).hint(hint));
            None
        }
        Ok(url) if SCHEMES.contains(&url.scheme()) => Some(url),
        Ok(url) => refuse(format!("`{}` is not a kind of store that weir knows", url.scheme()), report),
        Err(error) => refuse(format!("`{attribute}` is not a URL: {error}"), report),
    }
}
