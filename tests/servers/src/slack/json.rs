//! Fields of open JSON, without a way to panic.

use serde_json::Value;

/// Reads and writes fields of an object by name.
pub(super) trait Fields {
    /// A field; `null` when it is not there.
    fn at(&self, key: &str) -> &Value;

    /// Writes a field, if this is an object.
    fn put(&mut self, key: &str, value: impl Into<Value>);
}

impl Fields for Value {
    fn at(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&Value::Null)
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        if let Some(fields) = self.as_object_mut() {
            fields.insert(key.to_owned(), value.into());
        }
    }
}

/// A field that is text; empty when it is not there.
pub(super) fn text<'a>(json: &'a Value, key: &str) -> &'a str {
    json.at(key).as_str().unwrap_or_default()
}
