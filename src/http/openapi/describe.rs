//! What a handler takes and answers, read off its types. Knows: extractors, replies, JSON schemas. Must not know:
//! any handler, or what holds for many operations alike.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

use crate::http::context::Context;

/// Where schemas with a name are.
pub const SCHEMAS: &str = "#/components/schemas/";

/// What one handler takes and answers.
#[derive(Debug, Default)]
pub struct Operation {
    pub parameters: Vec<Value>,
    pub request_body: Option<Value>,
    /// The media types that it answers, each with a schema.
    pub contents: BTreeMap<String, Value>,
    /// The schemas that the others refer to, by name.
    pub schemas: BTreeMap<String, Value>,
}

impl Operation {
    /// The operation of a handler with these arguments and this answer.
    pub fn of<Args: Inputs, Answer: Output>() -> Self {
        let mut operation = Self::default();
        Args::describe(&mut operation);
        Answer::describe(&mut operation);
        operation
    }

    /// Refers to a schema, and keeps it by its name.
    pub fn schema<T: ToSchema>(&mut self) -> Value {
        let mut found = Vec::new();
        T::schemas(&mut found);
        found.push((T::name().into_owned(), T::schema()));
        for (name, schema) in found {
            self.schemas.insert(name, json!(schema));
        }
        json!({ "$ref": format!("{SCHEMAS}{}", T::name()) })
    }

    pub fn takes_body<T: ToSchema>(&mut self, media_type: &str, is_required: bool) {
        let schema = self.schema::<T>();
        self.request_body =
            Some(json!({ "content": { media_type: { "schema": schema } }, "required": is_required }));
    }

    pub fn answers_json<T: ToSchema>(&mut self) {
        let schema = self.schema::<T>();
        self.answers_with("application/json", schema);
    }

    pub fn answers_with(&mut self, media_type: &str, schema: Value) {
        self.contents.insert(media_type.to_owned(), json!({ "schema": schema }));
    }
}

/// One argument of a handler.
pub trait Input {
    fn describe(_: &mut Operation) {}
}

/// All arguments of a handler.
pub trait Inputs {
    fn describe(operation: &mut Operation);
}

macro_rules! inputs {
    ($($argument:ident)*) => {
        impl<$($argument: Input),*> Inputs for ($($argument,)*) {
            fn describe(_operation: &mut Operation) {
                $($argument::describe(_operation);)*
            }
        }
    };
}

inputs! {}
inputs! { A }
inputs! { A B }
inputs! { A B C }
inputs! { A B C D }

impl Input for Context {}
impl Input for HttpRequest {}
impl Input for web::Payload {}
impl<T> Input for web::Data<T> {}

impl<T: IntoParams> Input for web::Query<T> {
    fn describe(operation: &mut Operation) {
        let parameters = T::into_params(|| Some(ParameterIn::Query));
        operation.parameters.extend(parameters.into_iter().map(|parameter| json!(parameter)));
    }
}

/// The path says what it is.
impl<T> Input for web::Path<T> {}

/// What a handler answers.
pub trait Output {
    fn describe(operation: &mut Operation);
}

/// Errors are the same for many operations.
impl<T: Output, E> Output for Result<T, E> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

/// Pages for people, and texts: nothing that a program reads field by field.
impl Output for HttpResponse {
    fn describe(_: &mut Operation) {}
}
