//! What a wrong request is told: RFC 9457 with a stable code and a hint that can be acted on.

use serde::{Deserialize, Serialize};

/// Codes are part of the API: never rename one. The HTTP status follows from the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    Unauthenticated,
    Forbidden,
    NotFound,
    NoSuchRoute,
    MethodNotAllowed,
    /// The body is no JSON or YAML.
    Syntax,
    /// A field is unknown, missing, or of the wrong type or unit.
    InvalidField,
    UnknownKind,
    UnknownAction,
    UnknownTarget,
    /// No such version of that worker kind.
    UnknownVersion,
    InvalidParams,
    InvalidSelector,
    InvalidName,
    DuplicateName,
    /// The image is no canonical tar, or its worker.toml cannot be used.
    InvalidImage,
    /// What arrived is not what was announced.
    DigestMismatch,
    /// That version was pushed before, with other bytes.
    VersionExists,
    /// Another rollout of the same kind is on its way.
    RolloutInProgress,
    /// The selector matches nothing.
    NoTargets,
    DocumentTooLarge,
    TooManyDocuments,
    BodyTooLarge,
    TooManyTargets,
    /// The record is at another revision than the request said.
    Conflict,
    /// Still referenced or in use.
    InUse,
    /// The same Idempotency-Key came with another request.
    IdempotencyMismatch,
    /// The revision asked for is no longer kept: list again.
    Gone,
    /// Not in this state (cancel of an ended run).
    WrongState,
    TooManyRequests,
    /// The store cannot write (disk full).
    StoreUnavailable,
    Unavailable,
    /// The store went away in the middle: it may have been done.
    Unsettled,
    /// Another sengu on the same store is the active one: nothing was done.
    Standby,
    Internal,
}

impl Code {
    pub fn status(self) -> u16 {
        match self {
            Code::Unauthenticated => 401,
            Code::Forbidden => 403,
            Code::NotFound | Code::NoSuchRoute => 404,
            Code::MethodNotAllowed => 405,
            Code::Conflict
            | Code::InUse
            | Code::WrongState
            | Code::VersionExists
            | Code::RolloutInProgress => 409,
            Code::Gone => 410,
            Code::DocumentTooLarge | Code::TooManyDocuments | Code::BodyTooLarge => 413,
            Code::Syntax
            | Code::InvalidField
            | Code::UnknownKind
            | Code::UnknownAction
            | Code::UnknownTarget
            | Code::UnknownVersion
            | Code::InvalidImage
            | Code::DigestMismatch
            | Code::InvalidParams
            | Code::InvalidSelector
            | Code::InvalidName
            | Code::DuplicateName
            | Code::NoTargets
            | Code::TooManyTargets
            | Code::IdempotencyMismatch => 422,
            Code::TooManyRequests => 429,
            Code::Internal => 500,
            Code::StoreUnavailable | Code::Unavailable | Code::Standby => 503,
            Code::Unsettled => 504,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::NoSuchRoute => "no_such_route",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::Syntax => "syntax",
            Code::InvalidField => "invalid_field",
            Code::UnknownKind => "unknown_kind",
            Code::UnknownAction => "unknown_action",
            Code::UnknownTarget => "unknown_target",
            Code::UnknownVersion => "unknown_version",
            Code::InvalidImage => "invalid_image",
            Code::DigestMismatch => "digest_mismatch",
            Code::VersionExists => "version_exists",
            Code::RolloutInProgress => "rollout_in_progress",
            Code::InvalidParams => "invalid_params",
            Code::InvalidSelector => "invalid_selector",
            Code::InvalidName => "invalid_name",
            Code::DuplicateName => "duplicate_name",
            Code::NoTargets => "no_targets",
            Code::DocumentTooLarge => "document_too_large",
            Code::TooManyDocuments => "too_many_documents",
            Code::BodyTooLarge => "body_too_large",
            Code::TooManyTargets => "too_many_targets",
            Code::Conflict => "conflict",
            Code::InUse => "in_use",
            Code::IdempotencyMismatch => "idempotency_mismatch",
            Code::Gone => "gone",
            Code::WrongState => "wrong_state",
            Code::TooManyRequests => "too_many_requests",
            Code::StoreUnavailable => "store_unavailable",
            Code::Unavailable => "unavailable",
            Code::Unsettled => "unsettled",
            Code::Standby => "standby",
            Code::Internal => "internal",
        }
    }
}

/// An RFC 9457 problem. `errors` names every place that is wrong, not only the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[error("{code}: {detail}", code = self.code.as_str())]
pub struct Problem {
    /// `urn:sengu:problem:<code>`.
    #[serde(rename = "type")]
    pub type_uri: String,
    pub title: String,
    pub status: u16,
    pub code: Code,
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// One wrong place in a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// File or source, line, document and field: `targets.yaml:12 document 3 spec.address`.
    pub place: String,
    pub code: Code,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem {
            type_uri: format!("urn:sengu:problem:{}", code.as_str()),
            title: code.as_str().replace('_', " "),
            status: code.status(),
            code,
            detail: detail.into(),
            hint: None,
            errors: Vec::new(),
            request_id: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }
}
