//! From retired versions to the one in force. Knows: one JSON → JSON step per retired version. Must not
//! know: Rust types of events, because those only describe the version in force.

use serde_json::Value;

/// Turns the payload of one retired version into that of the next.
pub(crate) type Step = fn(Value) -> Result<Value, String>;

/// The step out of one retired version.
pub(crate) struct Upcast {
    /// The stored type name.
    pub type_name: &'static str,
    /// The retired version; the step leads to this one plus 1.
    pub from: u16,
    /// The step itself.
    pub step: Step,
}

/// Every retired version. Append-only: a version that was ever stored is never taken out.
pub(crate) const UPCASTS: &[Upcast] = &[];

/// Takes a payload from the version it was stored in to `target`.
pub(crate) fn upcast(
    steps: &[Upcast],
    type_name: &str,
    from: u16,
    target: u16,
    mut payload: Value,
) -> Result<Value, String> {
    for version in from..target {
        let step = steps
            .iter()
            .find(|upcast| upcast.type_name == type_name && upcast.from == version)
            .ok_or_else(|| format!("no upcast leads from version {version} to {target}"))?;
        payload = (step.step)(payload)?;
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const STEPS: &[Upcast] = &[
        Upcast { type_name: "thing-done", from: 1, step: add_colour },
        Upcast { type_name: "thing-done", from: 2, step: rename_size },
    ];

    fn add_colour(mut payload: Value) -> Result<Value, String> {
        payload["colour"] = json!("red");
        Ok(payload)
    }

    fn rename_size(mut payload: Value) -> Result<Value, String> {
        let size = payload.get("size").cloned().ok_or("size is missing")?;
        payload["length"] = size;
        Ok(payload)
    }

    #[test]
    fn steps_are_taken_one_after_the_other() {
        let first = json!({ "size": 3 });
        let third = upcast(STEPS, "thing-done", 1, 3, first).unwrap();
        assert_eq!(third, json!({ "size": 3, "colour": "red", "length": 3 }));
        let second = json!({ "size": 3, "colour": "blue" });
        let third = upcast(STEPS, "thing-done", 2, 3, second).unwrap();
        assert_eq!(third["colour"], "blue");
    }

    #[test]
    fn a_missing_step_and_a_failing_step_are_errors() {
        assert!(upcast(STEPS, "other-done", 1, 2, json!({})).unwrap_err().contains("no upcast"));
        assert_eq!(upcast(STEPS, "thing-done", 2, 3, json!({})).unwrap_err(), "size is missing");
    }
}
