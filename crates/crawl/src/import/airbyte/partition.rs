//! Parents of streams, and cursors of time.

use serde_json::{Map, Value};

use super::paging::json_path;
use super::{Import, Scope};
use crate::import::hcl::{Block, Expr};
use crate::import::out::legal;
use crate::import::reader::Reader;

impl Import {
    /// Reads a partition router: parents become placeholders of the scope, and are read themselves.
    pub(super) fn router(
        &mut self,
        value: &Value,
        place: &str,
        listed: &[&str],
        around: &Map<String, Value>,
        scope: &mut Scope,
        resource: &mut Block,
    ) {
        let routers = match value {
            Value::Array(routers) => routers.as_slice(),
            one => std::slice::from_ref(one),
        };
        if routers.len() > 1 {
            self.out.refuse(place, "several partition routers", "their product has to be written by hand");
        }
        for router in routers {
            let Some(object) = router.as_object() else { continue };
            let reader = Reader::new(object, around, place.to_owned());
            reader.ignore(&["type", "$parameters", "$options"]);
            match object.get("type").and_then(Value::as_str).unwrap_or_default() {
                "SubstreamPartitionRouter" | "SubstreamSlicer" => {
                    let configs = reader.get("parent_stream_configs").and_then(Value::as_array);
                    for (index, config) in configs.into_iter().flatten().enumerate() {
                        let place = format!("{place}.parent_stream_configs[{index}]");
                        self.parent(config, &place, listed, around, scope, resource);
                    }
                }
                "ListPartitionRouter" | "ListStreamSlicer" => {
                    reader.ignore(&["values", "cursor_field", "request_option"]);
                    let hint = "write a resource for each value, or make them tenants";
                    self.out.refuse(place, "a list of partitions", hint);
                }
                "DatetimeBasedCursor" | "DatetimeStreamSlicer" => {
                    if let Some(block) = self.incremental(router, place, around, scope, resource) {
                        resource.blocks.push(block);
                    }
                    continue;
                }
                "SingleSlice" => {}
                other => self.out.refuse(place, format!("a partition router of the type `{other}`"), ""),
            }
            reader.finish(&mut self.out.unsupported);
        }
    }

    fn parent(
        &mut self,
        config: &Value,
        place: &str,
        listed: &[&str],
        around: &Map<String, Value>,
        scope: &mut Scope,
        resource: &mut Block,
    ) {
        let none = Map::new();
        let Some(object) = config.as_object() else { return };
        let reader = Reader::new(object, &none, place.to_owned());
        reader.ignore(&["type", "$parameters", "$options", "incremental_dependency"]);
        let stream = reader.get("stream");
        let (Some(stream), Some(name)) = (stream, stream.and_then(super::name_of)) else {
            return self.out.refuse(place, "a parent without a name", "");
        };
        let (Some(key), Some(field)) = (reader.text("parent_key"), reader.text("partition_field")) else {
            return self.out.refuse(place, "a parent without `parent_key` and `partition_field`", "");
        };
        self.stream(stream, listed, around);
        let placeholder = format!("{{resources.{}.{}}}", legal(name), json_path(&[key.to_owned()]));
        scope.partition.insert(field.to_owned(), placeholder.clone());
        if let Some(option) = reader.get("request_option") {
            let word = |key: &str| option.get(key).and_then(Value::as_str);
            match (word("inject_into"), word("field_name")) {
                (Some("request_parameter"), Some(param)) => resource.set_in("params", param, Expr::text(placeholder)),
                (Some("header"), Some(header)) => resource.set_in("headers", header, Expr::text(placeholder)),
                _ => self.out.refuse(reader.at("request_option"), "a parent's value that is no parameter", ""),
            }
        }
        let unsupported = &mut self.out.unsupported;
        reader.refuse(
            "extra_fields",
            "further fields of the parent",
            "name them in `include_from_parent`",
            unsupported,
        );
        reader.refuse("lazy_read_pointer", "a pointer into the parent's items", "", unsupported);
        reader.finish(unsupported);
    }

    /// Reads a cursor of time into an `incremental` block.
    pub(super) fn incremental(
        &mut self,
        value: &Value,
        place: &str,
        around: &Map<String, Value>,
        scope: &Scope,
        resource: &mut Block,
    ) -> Option<Block> {
        let object = value.as_object()?;
        let parameters = super::parameters(object, around);
        let reader = Reader::new(object, &parameters, place.to_owned());
        let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
        if !["DatetimeBasedCursor", "DatetimeStreamSlicer", ""].contains(&kind) {
            self.out.refuse(place, format!("a cursor of the type `{kind}`"), "write an `incremental` block by hand");
            return None;
        }
        // How far apart two calls' ends are, and by which forms cursors are read, need no saying.
        reader.ignore(&[
            "type",
            "$parameters",
            "$options",
            "cursor_granularity",
            "cursor_datetime_formats",
            "is_compare_strictly",
        ]);
        reader.ignore(&["end_datetime", "global_substream_cursor", "is_data_feed"]);
        let mut block = Block::new("incremental");
        match reader.text("cursor_field") {
            Some(field) => {
                let field = self.text(field, &reader.at("cursor_field"), scope, &parameters).expr;
                block.set("cursor_path", field);
            }
            None => self.out.refuse(reader.at("cursor_field"), "is missing", "name the field that grows"),
        }
        for (name, option) in [("start_param", "start_time_option"), ("end_param", "end_time_option")] {
            let Some(value) = reader.get(option) else { continue };
            let word = |key: &str| value.get(key).and_then(Value::as_str);
            match (word("inject_into"), word("field_name")) {
                (Some("request_parameter"), Some(param)) => block.set(name, Expr::text(param)),
                (Some("body_json" | "body_data"), Some(param)) => {
                    let slot =
                        if name == "start_param" { "{incremental.start_value}" } else { "{incremental.end_value}" };
                    resource.set_in("body", param, Expr::text(slot));
                }
                _ => self.out.refuse(reader.at(option), "a bound that is no parameter", ""),
            }
        }
        self.start(&reader, scope, &parameters, &mut block);
        self.lag(&reader, &mut block);
        if let Some(format) = reader.text("datetime_format").filter(|format| !is_iso(format)) {
            let hint = "bounds are sent in the form in which the vendor's items have them, and `initial_value` as it is written";
            self.out.refuse(reader.at("datetime_format"), format!("the form `{format}`"), hint);
        }
        let unsupported = &mut self.out.unsupported;
        reader.refuse("step", "steps of time", "a run asks for all of its time at once", unsupported);
        for name in ["partition_field_start", "partition_field_end"] {
            reader.refuse(
                name,
                "names of a partition's bounds",
                "they are `{incremental.start_value}` and `{incremental.end_value}`",
                unsupported,
            );
        }
        reader.finish(unsupported);
        Some(block)
    }

    fn start(&mut self, reader: &Reader<'_>, scope: &Scope, parameters: &Map<String, Value>, block: &mut Block) {
        let start = match reader.get("start_datetime") {
            Some(Value::Object(start)) => start.get("datetime").and_then(Value::as_str),
            Some(value) => value.as_str(),
            None => None,
        };
        match start {
            Some(text) => {
                let initial = self.text(text, &reader.at("start_datetime"), scope, parameters).expr;
                block.set("initial_value", initial);
            }
            None => {
                self.out.refuse(reader.at("start_datetime"), "is missing", "say where the first run begins");
                block.set("initial_value", Expr::text("1970-01-01T00:00:00Z"));
            }
        }
    }

    fn lag(&mut self, reader: &Reader<'_>, block: &mut Block) {
        let Some(window) = reader.text("lookback_window") else { return };
        match iso_span(window) {
            Some(span) => block.set("lag", Expr::text(span)),
            None => {
                let hint = "write it as `lag`, such as \"1d\"";
                self.out.refuse(reader.at("lookback_window"), format!("the window `{window}`"), hint);
            }
        }
    }
}

/// Forms that sort, and that vendors read as they write them.
fn is_iso(format: &str) -> bool {
    format.starts_with("%Y-%m-%d")
}

/// Reads `P1D`, `PT6H`, `P2W` (ISO 8601, without months and years) as `1d`, `6h`, `14d`.
fn iso_span(text: &str) -> Option<String> {
    let (date, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((date, time)) => (date, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut seconds: u64 = 0;
    for (mut rest, units) in
        [(date, [('W', 604_800), ('D', 86_400), ('?', 0)]), (time, [('H', 3600), ('M', 60), ('S', 1)])]
    {
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().ok()?;
            let unit = rest[digits..].chars().next()?;
            let (_, factor) = units.iter().find(|(known, _)| *known == unit)?;
            seconds = seconds.checked_add(number.checked_mul(*factor)?)?;
            rest = &rest[digits + 1..];
        }
    }
    Some(weir_types::span::display(std::time::Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::iso_span;

    #[test]
    fn windows_are_read_as_iso_writes_them() {
        for (text, span) in [("P1D", "1d"), ("PT6H", "6h"), ("P2W", "2w"), ("P1DT12H", "36h"), ("PT90S", "90s")] {
            assert_eq!(iso_span(text).as_deref(), Some(span), "{text}");
        }
        for text in ["P1M", "1D", "P1", "P?D", "PT1D", "P99999999999999999999D"] {
            assert_eq!(iso_span(text), None, "{text}");
        }
    }
}
