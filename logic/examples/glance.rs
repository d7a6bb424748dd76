//! What looking at a large fleet costs: `cargo run --release -p sengu-logic --example glance [targets]`.

use sengu_interconnect::MemoryBroker;
use sengu_logic::glance::board::{View, tiles};
use sengu_logic::{Logic, LogicConfig, Tokens, documents};
use sengu_model::wire::envelope::WorkerOffer;
use sengu_store_sqlite::SqliteStore;
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 10;

struct NoBundles;

impl sengu_logic::workers::Bundles for NoBundles {
    fn pack(&self, digest: &str, _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Err(std::io::Error::other(format!("no files for {digest}")))
    }
}

type Fault = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let targets: usize = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 100_000,
    };
    let directory = tempfile::tempdir()?;
    let logic = start(directory.path()).await?;
    let source = documents::Source {
        name: "fleet".to_owned(),
        text: fleet(targets),
    };
    let documents = documents::read(&[source]).map_err(|p| p.detail)?;
    logic.apply(documents, false).await.map_err(|p| p.detail)?;
    // As many tasks as a run of all targets brings into memory.
    let spec = serde_json::from_value(json!({"action": "set", "selector": "kind=toy"}))?;
    logic.create_run(spec).await.map_err(|p| p.detail)?;
    tokio::time::sleep(Duration::from_secs(2)).await;

    let mut overview = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let shot = logic.overview().await;
        overview.push(begun.elapsed());
        assert!(!shot.json.is_empty());
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    tell("overview", &mut overview);
    let mut racks = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        logic.shared.racks(&"".parse()?).await;
        racks.push(begun.elapsed());
    }
    tell("racks of all targets", &mut racks);
    let mut whole = Vec::new();
    for _ in 0..ROUNDS {
        let view = View {
            selector: String::new(),
            colour: "state".to_owned(),
            limit: 20_000,
        };
        let begun = Instant::now();
        let seen = tiles(&logic.shared, &view).await.map_err(|p| p.detail)?;
        let json = serde_json::to_vec(&seen)?;
        whole.push(begun.elapsed());
        assert!(!json.is_empty());
    }
    tell("20,000 tiles as JSON", &mut whole);
    logic.stop().await;
    Ok(())
}

async fn start(directory: &std::path::Path) -> Result<Arc<Logic>, Fault> {
    let store = Arc::new(SqliteStore::open(directory)?);
    let blobs = sengu_store_directory::DirectoryBlobs::open(&directory.join("blobs"))?;
    let manifest = json!({"name": "toy", "version": "1.0.0", "protocol": 1, "command": ["./toy"], "slots": 8,
        "action": [{"name": "set", "effect": "idempotent"}]});
    let config = LogicConfig {
        seal_key: sengu_model::seal::SealKey([7; 32]),
        tokens: Tokens {
            operator: "token".to_owned(),
            viewer: "viewer".to_owned(),
        },
        bundled: vec![WorkerOffer {
            v: 1,
            manifest: serde_json::from_value(manifest)?,
            digest: "sha256:0".to_owned(),
            bytes: 0,
            active: false,
            pool: sengu_model::manifest::PoolDecl::default(),
        }],
        bundles: Arc::new(NoBundles),
        blobs: Arc::new(blobs),
        sengu_version: "0".to_owned(),
        interconnect: "embedded".to_owned(),
        roles: Vec::new(),
        retention_ms: 86_400_000,
        audit_retention_ms: 86_400_000,
        followers: Vec::new(),
        moving: None,
    };
    Ok(Logic::start(config, store, Arc::new(MemoryBroker::new())).await?)
}

fn fleet(targets: usize) -> String {
    let mut text = String::new();
    for n in 0..targets {
        let (rack, unit) = (n / 40, n % 40 + 1);
        let (site, row) = (rack / 400, rack / 10);
        let _ = write!(
            text,
            "---\napiVersion: sengu/v1\nkind: Target\nmetadata: {{name: t{n:06}, labels: \
             {{site: s{site}, row: w{row}, rack: r{rack}, unit: \"{unit}\"}}}}\nspec: {{kind: toy, address: a}}\n"
        );
    }
    text
}

fn tell(what: &str, times: &mut [Duration]) {
    times.sort();
    let ms = |at: usize| times[at].as_secs_f64() * 1_000.0;
    let (median, worst) = (ms(times.len() / 2), ms(times.len() - 1));
    println!("{what}: median {median:.2} ms, worst {worst:.2} ms");
}
