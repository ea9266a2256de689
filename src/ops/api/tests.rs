//! What `openapi.json` says is what there is: every route, method, status, parameter and field, both ways.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::socketio::commands::Command;
use routes::ROUTES;

fn description() -> Value {
    serde_json::from_str(DESCRIPTION).unwrap()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let object = object.as_object().unwrap_or_else(|| panic!("no object: {object}"));
    object.keys().map(String::as_str).collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let description = description();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let paths = &description["paths"];
    assert_eq!(keys(paths), ROUTES.iter().map(|route| route.path).collect());
    for route in &ROUTES {
        let operations = &paths[route.path];
        let methods = route.allow.split(", ").filter(|method| *method != "HEAD"); // as GET, everywhere
        let methods: BTreeSet<_> = methods.map(str::to_lowercase).collect();
        assert_eq!(
            keys(operations),
            methods.iter().map(String::as_str).collect(),
            "{}",
            route.path
        );
        let (mut statuses, mut parameters) = (BTreeSet::new(), BTreeSet::new());
        for operation in operations.as_object().unwrap().values() {
            statuses.extend(
                keys(&operation["responses"])
                    .iter()
                    .map(|status| status.parse::<u16>().unwrap()),
            );
            let named = operation["parameters"].as_array().into_iter().flatten();
            parameters.extend(named.map(|one| (one["in"].as_str().unwrap(), one["name"].as_str().unwrap())));
        }
        assert_eq!(
            statuses,
            route.label.statuses().iter().copied().collect(),
            "{}",
            route.path
        );
        let braces = route
            .path
            .split_once('{')
            .map(|(_, name)| ("path", name.trim_end_matches('}')));
        let expected = route.parameters.iter().map(|name| ("query", *name)).chain(braces);
        assert_eq!(parameters, expected.collect(), "{}", route.path);
    }
}

#[test]
fn every_metric_of_a_route_belongs_to_one() {
    let routes: Vec<_> = ROUTES
        .iter()
        .map(|route| route.label)
        .chain([ApiRoute::Unknown])
        .collect();
    assert_eq!(routes, ApiRoute::ALL);
}

#[test]
fn every_field_of_a_command_is_described_and_nothing_else() {
    let description = description();
    let samples = json!({
        "namespace": "/", "rooms": ["a"], "user": "u", "all": false, "except": [], "event": "e", "args": [],
        "volatile": true, "local": true, "ack_timeout": 1, "id": "x", "join": ["a"], "leave": ["a"], "close": true,
    });
    // All that are known to any command, as they are named where one is not.
    let unknown = Command::parse("emit", r#"{"?":1}"#).unwrap_err().to_string();
    let known: BTreeSet<_> = unknown
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| *name != "?")
        .collect();
    assert_eq!(known, keys(&samples), "{unknown}");
    for (name, schema, least) in [
        ("emit", "Emit", json!({"event": "e"})),
        ("join", "Join", json!({"rooms": ["a"], "join": ["b"]})),
        ("leave", "Leave", json!({"rooms": ["a"], "leave": ["b"]})),
        ("disconnect", "Disconnect", json!({"rooms": ["a"]})),
    ] {
        let forms = description["components"]["schemas"][schema]["oneOf"]
            .as_array()
            .unwrap();
        let described: BTreeSet<_> = forms.iter().flat_map(|form| keys(&form["properties"])).collect();
        let taken = known.iter().filter(|field| {
            let mut command = least.clone();
            command[**field] = samples[**field].clone();
            Command::parse(name, &command.to_string()).is_ok()
        });
        assert_eq!(described, taken.copied().collect(), "{name}");
    }
    let fields = |schema: &str| keys(&description["components"]["schemas"][schema]["properties"]);
    assert_eq!(fields("Batch"), BTreeSet::from(["commands"]));
    assert_eq!(fields("Drain"), BTreeSet::from(["node"]));
}

#[test]
fn everything_that_is_referred_to_is_there() {
    let description = description();
    let mut references = BTreeMap::new();
    let mut left = vec![&description];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    *references.entry(reference.clone()).or_insert(0) += 1;
                }
                left.extend(object.values());
            }
            Value::Array(list) => left.extend(list),
            _ => {}
        }
    }
    assert!(references.len() > 20);
    for reference in references.keys() {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference}");
    }
    for (kind, all) in description["components"].as_object().unwrap() {
        for name in keys(all).iter().filter(|_| kind != "securitySchemes") {
            assert!(
                references.contains_key(&format!("#/components/{kind}/{name}")),
                "{kind}/{name} is not used"
            );
        }
    }
}
