//! From a task to a request.

use bytes::Bytes;
use url::Url;

use super::fill::{Filler, Place};
use super::resource::{Compiled, is_dots};
use super::{Base, Plan, RequestError};
use crate::page::Call;
use crate::template::text_of;
use crate::{PageState, Request, RunValues, Task};

impl Plan {
    /// Returns the call that a task is, without credentials.
    ///
    /// # Errors
    /// See [`RequestError`]: whatever it is, trying again would bring the same.
    pub fn request(&self, task: &Task, run: &RunValues) -> Result<Request, RequestError> {
        let unknown = || RequestError::UnknownResource { resource: task.resource.clone() };
        let resource = self.resource(&task.resource).ok_or_else(unknown)?;
        if task.pages >= resource.pages_max {
            return Err(RequestError::TooManyPages { max: resource.pages_max });
        }
        let filler = Filler { plan: self, resource, task, run };
        let mut call = Call::default();
        if let Some(body) = &resource.body {
            call.body = Some(filler.body(body)?);
        }
        let url = match &task.page {
            Some(PageState::Url(link)) => self.base.link(link, &self.base.url)?,
            page => {
                let mut url = self.url(&filler, &mut call)?;
                if !resource.pager.fill(page.as_ref(), &mut call) {
                    return Err(RequestError::ChangedPaginator { resource: task.resource.clone() });
                }
                if !call.query.is_empty() {
                    url.query_pairs_mut().extend_pairs(&call.query);
                }
                url
            }
        };
        let mut headers = headers(&filler)?;
        let body = match &call.body {
            Some(body) => {
                if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                    headers.push(("content-type".to_owned(), "application/json".to_owned()));
                }
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        Ok(Request { method: resource.method, url, headers, body })
    }

    /// Fills in the path, and collects the parameters.
    fn url(&self, filler: &Filler<'_>, call: &mut Call) -> Result<Url, RequestError> {
        let Compiled { path, params, cursor, .. } = filler.resource;
        let url =
            match path.link.as_ref().and_then(|field| Some((field, filler.task.values.get(&field.key)?.as_str()?))) {
                Some((field, link)) if ["http://", "https://", "/"].iter().any(|start| link.starts_with(start)) => {
                    let url = self.base.link(link, &self.base.url)?;
                    if !self.base.holds(&url) {
                        let placeholder = format!("resources.{}", field.key);
                        let problem = format!("leads out of `{}`", self.base.url);
                        return Err(RequestError::BadValue { placeholder, place: "the path", problem });
                    }
                    url
                }
                _ => self.base.below(&self.segments(filler)?)?,
            };
        for (name, template) in path.query.iter().chain(params) {
            if !filler.has_no_start(template) {
                call.query.push((name.clone(), filler.text(template, Place::Param)?));
            }
        }
        let ends = cursor.iter().flat_map(|cursor| {
            let start = cursor.start_param.as_ref().map(|param| (param, filler.start()));
            let end = cursor.end_param.as_ref().map(|param| (param, filler.end()));
            start.into_iter().chain(end)
        });
        for (param, value) in ends {
            let Some(value) = value else { continue };
            let bad = |problem: crate::FieldProblem| RequestError::BadValue {
                placeholder: "incremental.start_value".to_owned(),
                place: "a parameter",
                problem: problem.to_string(),
            };
            call.set(param, text_of(&value).map_err(bad)?.into_owned());
        }
        Ok(url)
    }

    fn segments(&self, filler: &Filler<'_>) -> Result<String, RequestError> {
        let mut path = String::new();
        for (at, segment) in filler.resource.path.segments.iter().enumerate() {
            let text = filler.text(segment, Place::Path)?;
            if is_dots(&text) {
                let placeholder = segment.slots().next().map(|slot| slot.name().into_owned()).unwrap_or_default();
                let problem = format!("makes the path's part `{text}`, which leads elsewhere");
                return Err(RequestError::BadValue { placeholder, place: "the path", problem });
            }
            if at > 0 {
                path.push('/');
            }
            path.push_str(&text);
        }
        Ok(path)
    }
}

impl Base {
    /// Puts a path behind the base URL.
    fn below(&self, path: &str) -> Result<Url, RequestError> {
        let mut url = self.url.clone();
        let whole = if path.is_empty() { self.path.clone() } else { format!("{}/{path}", self.path) };
        url.set_path(&whole);
        if self.is_same_origin(&url) { Ok(url) } else { Err(self.foreign(url.as_str())) }
    }

    /// Resolves a link of the vendor's, which may only stay where credentials may go. A link that says `http` where the
    /// vendor is called by `https` is one of a server behind a proxy, and is called by `https`.
    ///
    /// # Errors
    /// It is none, or leads elsewhere.
    pub(super) fn link(&self, link: &str, from: &Url) -> Result<Url, RequestError> {
        let bad = |error: url::ParseError| RequestError::Url {
            url: crate::select::clip(link, 200),
            reason: error.to_string(),
        };
        let mut url = from.join(link).map_err(bad)?;
        if self.url.scheme() == "https" && url.scheme() == "http" && url.port().is_none() && self.url.port().is_none() {
            // Never the other way: nothing is sent in clear that would not be sent so anyway.
            if url.set_scheme("https").is_err() {
                return Err(self.foreign(link));
            }
        }
        let named = !url.username().is_empty() || url.password().is_some();
        if named || !self.is_same_origin(&url) {
            return Err(self.foreign(link));
        }
        url.set_fragment(None);
        self.take_key(&mut url);
        Ok(url)
    }

    /// Takes the API key out of a link in which the vendor repeats it: whoever makes the call adds it, and a task is no
    /// place to keep it.
    fn take_key(&self, url: &mut Url) {
        let Some(key) = &self.key_param else { return };
        if !url.query_pairs().any(|(name, _)| name == key.as_str()) {
            return;
        }
        let pairs = url.query_pairs().filter(|(name, _)| name != key.as_str());
        let kept: Vec<(String, String)> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }

    fn is_same_origin(&self, url: &Url) -> bool {
        self.url.origin() == url.origin()
    }

    /// Whether a URL is below the base URL.
    fn holds(&self, url: &Url) -> bool {
        url.path().strip_prefix(&self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn foreign(&self, link: &str) -> RequestError {
        RequestError::ForeignLink { link: crate::select::clip(link, 200), origin: self.origin() }
    }
}

fn headers(filler: &Filler<'_>) -> Result<Vec<(String, String)>, RequestError> {
    let headers = &filler.resource.headers;
    let kept = headers.iter().filter(|(_, template)| !filler.has_no_start(template));
    kept.map(|(name, template)| Ok((name.clone(), filler.text(template, Place::Header)?))).collect()
}
