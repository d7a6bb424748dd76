//! Schemas of the types whose JSON is a text, for the API document.

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! text {
    ($($type:path: $what:literal;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).description(Some($what)).into()
            }
        }
        impl ToSchema for $type {}
    )*};
}

text! {
    crate::TaskId: "t- and 13 characters";
    crate::RunId: "r- and 13 characters";
    crate::Uid: "u- and 13 characters";
    crate::Time: "RFC 3339 with milliseconds";
    crate::quantity::Duration: "a number and ms, s, m, h or d, such as 30s";
    crate::quantity::Share: "a count such as 20 or a percentage such as 10%";
}
