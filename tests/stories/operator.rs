//! An operator at the management API.

use serde_json::{Value, json};

use crate::client::{Http, Reply};
use crate::harness::Grantbook;

/// A caller with an operator key.
#[derive(Debug, Clone)]
pub struct Operator {
    http: Http,
    pub key: String,
}

impl Operator {
    pub fn new(http: &Http, key: &str) -> Self {
        Self { http: http.clone(), key: key.to_owned() }
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let authorization = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", authorization.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let body = body.map(Value::to_string);
        self.http.send(method, path, &headers, body.as_deref().map(str::as_bytes))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, None)
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, Some(body))
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Reply {
        self.ask("PATCH", path, Some(body))
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path, None)
    }

    /// The items of all pages of a list, a few at a time.
    #[track_caller]
    pub fn all(&self, path: &str, a_page: usize) -> Vec<Value> {
        let and = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{and}limit={a_page}{cursor}")).expect(200).json();
            let found = page["items"].as_array().unwrap();
            assert!(found.len() <= a_page, "{page}");
            items.extend(found.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

impl Grantbook {
    /// An operator of the role `admin`.
    pub fn admin(&self) -> Operator {
        Operator::new(&self.http, &self.admin_key)
    }

    /// An operator with a new key of a role.
    #[track_caller]
    pub fn operator(&self, role: &str) -> Operator {
        let created = self.admin().post("/keys", &json!({ "name": format!("the {role}"), "role": role }));
        Operator::new(&self.http, &created.expect(201).text("key"))
    }
}

impl Reply {
    /// The detail of a problem (RFC 9457) with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{self:?}");
        assert!(problem["title"].is_string(), "{self:?}");
        self.text("detail")
    }
}
