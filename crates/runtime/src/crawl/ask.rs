//! Where accounts are.

use url::Url;

use super::api::{CrawlError, Crawls};

impl Crawls {
    /// Returns where an account is.
    ///
    /// # Errors
    /// [`CrawlError::UnknownApi`].
    pub fn base_url(&self, api: &str) -> Result<&Url, CrawlError> {
        let found = self.apis.iter().find(|(name, _)| name.as_str() == api);
        found.map(|(_, api)| &api.client.base_url).ok_or_else(|| CrawlError::UnknownApi { api: api.to_owned() })
    }
}
