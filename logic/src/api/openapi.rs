//! The API's description, generated from the handlers. `sengu openapi` prints it; the repo keeps a copy.

use super::{
    audit, changes, explain, grid, moves, overview, parked, racks, records, runs, session, system,
    tasks, watch, workers,
};
use crate::core::Logic;
use std::sync::Arc;
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::{router::OpenApiRouter, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "sengu",
        version = "1",
        description = "Observe and control a datacenter. Errors are RFC 9457 problems with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(
        sengu_model::Problem,
        sengu_model::kinds::RunStatus,
        sengu_model::kinds::Condition,
        sengu_model::release::ReleaseSpec,
        sengu_model::release::ReleaseStatus
    )),
    modifiers(&Doors),
    security(("bearer" = []), ("session" = []))
)]
struct Document;

struct Doors;

impl utoipa::Modify for Doors {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", scheme);
        let cookie = ApiKeyValue::with_description(
            crate::session::COOKIE,
            "of a browser, by POST /v1/session; what changes something must come from a page of this server",
        );
        let scheme = SecurityScheme::ApiKey(ApiKey::Cookie(cookie));
        components.add_security_scheme("session", scheme);
    }
}

/// Every documented route.
pub(super) fn routes() -> OpenApiRouter<Arc<Logic>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(records::apply))
        .routes(routes!(records::list))
        .routes(routes!(records::get, records::put, records::delete))
        .routes(routes!(records::uncordon))
        .routes(routes!(tasks::create, tasks::list))
        .routes(routes!(tasks::get))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::logs))
        .routes(routes!(workers::explain))
        .routes(routes!(runs::create))
        .routes(routes!(runs::get))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::retry))
        .routes(routes!(runs::pause))
        .routes(routes!(runs::resume))
        .routes(routes!(grid::get))
        .routes(routes!(grid::watch))
        .routes(routes!(runs::targets))
        .routes(routes!(runs::why))
        .routes(routes!(watch::records))
        .routes(routes!(watch::results))
        .routes(routes!(workers::list, workers::push))
        .routes(routes!(workers::promote))
        .routes(routes!(workers::rollback))
        .routes(routes!(workers::cordon))
        .routes(routes!(workers::drain))
        .routes(routes!(workers::uncordon))
        .routes(routes!(workers::upgrade))
        .routes(routes!(system::version))
        .routes(routes!(system::top))
        .routes(routes!(system::limits))
        .routes(routes!(session::begin, session::get, session::end))
        .routes(routes!(session::code))
        .routes(routes!(overview::get))
        .routes(routes!(overview::watch))
        .routes(routes!(racks::racks))
        .routes(routes!(racks::tiles))
        .routes(routes!(racks::watch_tiles))
        .routes(routes!(racks::history))
        .routes(routes!(changes::list))
        .routes(routes!(audit::list))
        .routes(routes!(parked::list))
        .routes(routes!(moves::begin, moves::get, moves::cancel))
        .routes(routes!(explain::kinds))
        .routes(routes!(explain::kind))
}

/// The document as JSON.
pub fn document() -> String {
    let (_, mut document) = routes().split_for_parts();
    say_sentences(&mut document);
    document.to_pretty_json().unwrap_or_default() + "\n"
}

/// The English sentence of each code, for those who say it in another language.
fn say_sentences(document: &mut utoipa::openapi::OpenApi) {
    let schemas = document.components.as_mut().map(|c| &mut c.schemas);
    if let Some(RefOr::T(Schema::Object(codes))) = schemas.and_then(|s| s.get_mut("SayingCode")) {
        let sentences = crate::saying::sentences();
        codes.extensions = Some(Extensions::builder().add("x-sentences", sentences).build());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_description_has_a_sentence_for_each_code() {
        let document: serde_json::Value = serde_json::from_str(&super::document()).unwrap();
        let codes = &document["components"]["schemas"]["SayingCode"];
        let sentences = codes["x-sentences"].as_object().unwrap();
        for code in codes["enum"].as_array().unwrap() {
            assert!(sentences.contains_key(code.as_str().unwrap()), "{code}");
        }
    }
}
