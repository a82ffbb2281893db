//! Sources of other tools, and the blocks that come of them.

use weir_crawl::import::{ImportError, Imported, airbyte, dlt};

fn shown(imported: &Imported) -> String {
    let secrets = imported.secrets.iter().map(|secret| format!("# WEIR_SECRET_{}: {}\n", secret.name, secret.holds));
    let unsupported = imported.unsupported.iter().map(|unsupported| format!("# {unsupported}\n"));
    format!("{}\n{}{}", imported.hcl, secrets.collect::<String>(), unsupported.collect::<String>())
}

#[test]
fn a_dlt_configuration_becomes_blocks() {
    let imported = dlt(include_str!("import/github.dlt.json"), "github").unwrap();
    assert!(imported.unsupported.is_empty(), "{:?}", imported.unsupported);
    assert!(!imported.hcl.contains("must_not_show"));
    insta::assert_snapshot!(shown(&imported));
}

#[test]
fn what_dlt_has_and_weir_has_not_is_named() {
    let imported = dlt(include_str!("import/paginators.dlt.json"), "shop").unwrap();
    assert!(!imported.hcl.contains("must_not_show"));
    insta::assert_snapshot!(shown(&imported));
}

#[test]
fn a_manifest_becomes_blocks() {
    let imported = airbyte(include_str!("import/meetings.airbyte.yaml"), "meetings").unwrap();
    insta::assert_snapshot!(shown(&imported));
}

#[test]
fn older_manifests_are_read_and_what_is_unknown_is_named() {
    let imported = airbyte(include_str!("import/older.airbyte.yaml"), "news").unwrap();
    insta::assert_snapshot!(shown(&imported));
}

#[test]
fn what_is_no_source_is_refused() {
    assert!(matches!(dlt("{", "x"), Err(ImportError::Json(_))));
    assert!(matches!(airbyte("a: [", "x"), Err(ImportError::Yaml(_))));
    for (text, problem) in [
        ("[]", "this is no dlt configuration: it is no object"),
        ("{}", "this is no dlt configuration: it has no `client`"),
    ] {
        assert_eq!(dlt(text, "x").unwrap_err().to_string(), problem);
    }
    let circle = "streams: ['#/a']\na: {b: '#/a'}\n";
    let error = airbyte(circle, "x").unwrap_err().to_string();
    assert_eq!(error, "this is no declarative manifest: references lead in a circle, or more than 128 deep");
    // Each level names the one below it ten times.
    let mut bomb = "streams: ['#/l9']\nl0: x\n".to_owned();
    for level in 1..10 {
        bomb.push_str(&format!("l{level}: [{}]\n", vec![format!("'#/l{}'", level - 1); 10].join(", ")));
    }
    let error = airbyte(&bomb, "x").unwrap_err().to_string();
    assert_eq!(error, "this is no declarative manifest: its references unfold to more than 500000 values");
}
