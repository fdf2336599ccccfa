//! Whether JSON has the shape that a schema says: the part of JSON Schema that our document uses. A keyword that is not known here fails
//! the test, so that none is believed to be checked.

use serde_json::Value;

const ANNOTATIONS: [&str; 4] = ["description", "default", "format", "contentEncoding"];

/// What is wrong, with its place.
pub fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return check(document, resolve(document, reference), value, place);
    }
    let wrong = |why: String| Err(format!("{place}: {why}: {value}"));
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        let is_right = match keyword.as_str() {
            "type" => types(wanted).any(|name| is_of_type(value, name)),
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
            "required" => value
                .as_object()
                .is_none_or(|object| wanted.as_array().unwrap().iter().all(|name| object.contains_key(name.as_str().unwrap()))),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, wanted, item, &format!("{place}[{index}]"))?;
                }
                true
            }
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    match &wanted[name] {
                        Value::Null if schema["additionalProperties"] == false => {
                            return wrong(format!("{name} is not in the document"));
                        }
                        Value::Null => {}
                        known => check(document, known, inner, &format!("{place}.{name}"))?,
                    }
                }
                true
            }
            "additionalProperties" if wanted.is_object() => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    if schema["properties"][name].is_null() {
                        check(document, wanted, inner, &format!("{place}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => true, // looked at with the properties
            annotation if ANNOTATIONS.contains(&annotation) => true,
            unknown => panic!("{place}: the keyword {unknown} is not known to the test"),
        };
        if !is_right {
            return wrong(format!("not {keyword} {wanted}"));
        }
    }
    Ok(())
}

/// What a `#/…` reference means.
pub fn resolve<'a>(document: &'a Value, reference: &str) -> &'a Value {
    let pointer = reference.strip_prefix('#').expect("a reference into the document");
    document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn types(wanted: &Value) -> impl Iterator<Item = &str> {
    let one = wanted.as_str();
    let many = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many)
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

#[test]
fn the_check_tells_right_from_wrong() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": ["integer", "null"], "minimum": 1}, "b": {"type": "array", "items": {"type": "string"}}},
    });
    let is_right = |text: &str| check(&Value::Null, &schema, &serde_json::from_str(text).unwrap(), "").is_ok();
    assert!(is_right(r#"{"a": 1}"#) && is_right(r#"{"a": null, "b": ["x"]}"#));
    for wrong in [r#"{"b": []}"#, r#"{"a": 0}"#, r#"{"a": "1"}"#, r#"{"a": 1, "b": [2]}"#, r#"{"a": 1, "c": 1}"#, "[]"] {
        assert!(!is_right(wrong), "{wrong}");
    }
}
