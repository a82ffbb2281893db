//! Who asks: the seam where signatures will be verified.
//!
//! Every request passes [`Access::check`] before its action is looked at. AWS's clients sign each request (Signature
//! Version 4) with whatever keys they were given; what they say about themselves is parsed here and handed over, with the
//! head that was signed. [`Anyone`] lets all pass, signed or not: authentication is off.

use axum::http::request::Parts;

/// What a request says about its signer: the credential scope of Signature Version 4. Nothing of it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The access key's id.
    pub access_key: String,
    /// The region that was signed for, such as `us-east-1`.
    pub region: String,
    /// The service that was signed for: `sqs`.
    pub service: String,
}

impl Credential {
    /// Reads the `Authorization` header, or the `X-Amz-Credential` parameter of a presigned URL.
    ///
    /// The scope is `KEY/DATE/REGION/SERVICE/aws4_request`.
    pub fn of(head: &Parts) -> Option<Self> {
        let header = head.headers.get(axum::http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scope = match header {
            Some(header) => {
                let (_, rest) = header.split_once("Credential=")?;
                rest.split([',', ' ']).next()?.to_owned()
            }
            None => {
                let query = head.uri.query()?;
                let (_, value) =
                    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "X-Amz-Credential")?;
                value.into_owned()
            }
        };
        // A key's id may hold a slash in other people's servers: the scope is read from its end.
        let mut parts = scope.rsplitn(5, '/');
        let (_, service, region, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Self { access_key: parts.next()?.to_owned(), region: region.to_owned(), service: service.to_owned() })
    }
}

/// Why a request may not go on. The client is told `AccessDenied` with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Denied {
    /// What is wrong, for the client's eyes.
    pub reason: String,
}

/// Decides whether a request may go on.
pub trait Access: Send + Sync + 'static {
    /// Looks at a request before its action is run. `body` is whole: a signature covers its hash.
    ///
    /// # Errors
    /// [`Denied`] ends the request.
    fn check(&self, credential: Option<&Credential>, head: &Parts, body: &[u8]) -> Result<(), Denied>;
}

/// Lets everybody in: authentication is off.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anyone;

impl Access for Anyone {
    fn check(&self, _credential: Option<&Credential>, _head: &Parts, _body: &[u8]) -> Result<(), Denied> {
        Ok(())
    }
}
