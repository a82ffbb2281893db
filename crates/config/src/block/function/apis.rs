//! `apis = [api.monitor]`: the vendors' accounts that a handler may call, within their budgets.

use weir_types::ApiName;

use super::Around;
use crate::Diagnostic;
use crate::block::Attributes;
use crate::diagnostic::Report;
use crate::value::{Kind, Value};

pub(super) fn read(block: &Attributes<'_>, around: &Around<'_>, report: &mut Report) -> Vec<ApiName> {
    let hint = "such as `apis = [api.NAME]`";
    let Some(value) = block.value("apis", report) else { return Vec::new() };
    let Kind::List(elements) = value.kind else {
        block.wrong_type("apis", "a list of references", &value, hint, report);
        return Vec::new();
    };
    let is_cut_off = matches!(block.any_value("network", &mut Report::default()),
        Some(Value { kind: Kind::Text(network), .. }) if network.eq_ignore_ascii_case("none"));
    if is_cut_off {
        let message = format!("{block} calls apis through weir's own port, which `network = \"none\"` closes");
        block.refuse("network", message, "remove `network`, or `apis`", report);
    }
    let mut apis: Vec<ApiName> = Vec::new();
    for element in elements {
        let place = block.place_of(Some(element.span.clone()));
        let name = match &element.kind {
            Kind::Reference { kind, name } if kind == "api" => name,
            _ => {
                block.wrong_type("apis", "a list of references to apis", &element, hint, report);
                continue;
            }
        };
        if !around.names.check("api", name, || place.clone(), report) {
            continue;
        }
        // One that was refused is reported where it is declared.
        let Some(api) = around.apis.get(name).and_then(Option::as_ref) else { continue };
        if apis.contains(&api.name) {
            let message = format!("`api.{name}` stands twice in `apis`");
            report.push(Diagnostic::error(message).at(place).hint("remove one of the two"));
            continue;
        }
        let variable = |name: &str| name.to_ascii_uppercase().replace('-', "_");
        if let Some(other) = apis.iter().find(|known| variable(known.as_str()) == variable(name)) {
            let message =
                format!("`api.{name}` and `api.{other}` have one variable: `WEIR_API_{}_URL`", variable(name));
            report.push(Diagnostic::error(message).at(place).hint("rename one of the two"));
            continue;
        }
        apis.push(api.name.clone());
    }
    apis
}
