//! A Redfish service with many systems that nobody here wrote: sushy-tools' fake driver, under gunicorn, over TLS.

use super::{Process, free_port, listens};
use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

pub struct Emulator {
    process: Process,
    _folder: tempfile::TempDir,
    pub port: u16,
    /// PEM of the CA that signed its certificate.
    pub ca: String,
}

/// As a peer's script numbers them, from 0.
pub fn system_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

impl Emulator {
    pub fn start(gunicorn: &Path, systems: usize) -> Result<Emulator> {
        let folder = tempfile::tempdir().context("make a folder for the emulator")?;
        let at = |name: &str| folder.path().join(name);
        let ca = certificates(folder.path()).context("make certificates")?;
        let list: Vec<Value> = (0..systems)
            .map(|n| {
                json!({"uuid": system_id(n), "name": format!("node-{n}"), "power_state": "Off",
                    "external_notifier": 0, "nics": []})
            })
            .collect();
        let config = format!(
            "SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_STATE_DIR = {:?}\nSUSHY_EMULATOR_FAKE_SYSTEMS = {}\n",
            folder.path(),
            Value::Array(list)
        );
        fs::write(at("sushy.conf"), config)?;
        let port = free_port()?;
        let mut process = Process::start(
            Command::new(gunicorn)
                .args([
                    "--bind",
                    &format!("127.0.0.1:{port}"),
                    "--worker-class",
                    "gthread",
                    "--threads",
                    "8",
                ])
                .args(["--keep-alive", "30", "--no-control-socket", "--certfile"])
                .arg(at("leaf.pem"))
                .arg("--keyfile")
                .arg(at("key.pem"))
                .arg("sushy_tools.emulator.main:app")
                .env("SUSHY_EMULATOR_CONFIG", at("sushy.conf"))
                .current_dir(folder.path())
                .stderr(Stdio::null()),
        )?;
        process.wait_for("the emulator", || listens(port))?;
        Ok(Emulator {
            process,
            _folder: folder,
            port,
            ca,
        })
    }

    pub fn cpu_s(&self) -> f64 {
        self.process.cpu_s()
    }
}

/// Writes a leaf for 127.0.0.1 with its key, and gives back the CA.
fn certificates(folder: &Path) -> Result<String> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, &ca_key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    fs::write(
        folder.join("leaf.pem"),
        leaf.signed_by(&key, &issuer)?.pem(),
    )?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(ca_pem)
}
