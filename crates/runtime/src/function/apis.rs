//! What handlers find of the vendors' accounts that they may call: `WEIR_API_NAME_URL`, a path of this server that keeps to the
//! account's budget and adds its credentials.

use weir_lambda::{Host, Spec};
use weir_types::{ApiName, FunctionName, Secret};

use crate::node::Node;

/// Adds where each account is called to what a function's environments see.
pub(super) fn callable(mut spec: Spec, apis: &[ApiName], host: &Host) -> Spec {
    // Without a server there is nothing to call.
    let Some(endpoint) = host.endpoint() else { return spec };
    for api in apis {
        // Nothing secret, but no part of a version either: the server may listen elsewhere at its next start.
        let url = Secret::new(url(endpoint, api, &spec.name));
        // What the function's own environment says stays.
        if !spec.environment.contains_key(&variable(api)) {
            spec.secrets.entry(variable(api)).or_insert(url);
        }
    }
    spec
}

impl Node {
    /// Tells whether a function names an account among those that it calls.
    pub fn may_call(&self, function: &FunctionName, api: &str) -> bool {
        self.plans().get(function).is_some_and(|plan| plan.apis.iter().any(|known| known.as_str() == api))
    }
}

fn url(endpoint: &str, api: &ApiName, function: &FunctionName) -> String {
    format!("{endpoint}/v1/apis/{api}/call/{function}")
}

/// Returns the variable of an account: `WEIR_API_MONITOR_URL`.
fn variable(api: &ApiName) -> String {
    format!("WEIR_API_{}_URL", api.as_str().to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_variable_and_a_url_of_the_functions_own() {
        let api: ApiName = "fleet-eu".parse().unwrap();
        assert_eq!(variable(&api), "WEIR_API_FLEET_EU_URL");
        let url = url("http://127.0.0.1:4566", &api, &"ask".parse().unwrap());
        assert_eq!(url, "http://127.0.0.1:4566/v1/apis/fleet-eu/call/ask");
    }
}
