//! The interconnect that the configuration names: the embedded one, or a broker that other processes share.

use crate::config::Interconnect;
use crate::drivers::brokers::{amqp, mqtt, nats};
use anyhow::{Context as _, Result, bail};
use sengu_interconnect::Broker;
use sengu_interconnect::address::{Address, Password, Scheme};
use sengu_interconnect::contact::Finding;
use sengu_interconnect::events::Followers;
use sengu_interconnect::pair::PairBroker;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A broker that is not there by then is told, and still waited for.
const THERE_WAIT: Duration = Duration::from_secs(10);

/// The brokers of an installation.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Carries tasks and reports.
    pub tasks: Address,
    /// Carries the retained directory and events, where the first cannot.
    pub results: Option<Address>,
}

/// Ready to be used; connects in the background.
pub struct Opened {
    pub broker: Arc<dyn Broker>,
    pub followers: Vec<Arc<dyn Followers>>,
}

impl Addresses {
    /// Reads what the configuration says.
    ///
    /// # Errors
    /// What is wrong with it, without passwords.
    pub fn read(config: &Interconnect) -> Result<Addresses> {
        let mut tasks = Address::parse(&config.url).context("interconnect.url")?;
        tasks.ca_pem = pem(config.ca.as_deref())?;
        if let Some(path) = &config.password_file {
            tasks.password = Some(password(path)?);
        }
        let results = config.results.as_ref().map(|results| {
            let mut results = Address::parse(results).context("interconnect.results")?;
            results.ca_pem = pem(config.results_ca.as_deref().or(config.ca.as_deref()))?;
            if let Some(path) = &config.results_password_file {
                results.password = Some(password(path)?);
            }
            Ok::<_, anyhow::Error>(results)
        });
        let addresses = Addresses {
            tasks,
            results: results.transpose()?,
        };
        addresses.fit()?;
        Ok(addresses)
    }

    /// The kinds of the brokers, in words.
    pub fn engine(&self) -> String {
        let kinds = std::iter::once(&self.tasks).chain(&self.results);
        let words: Vec<&str> = kinds.map(|a| a.scheme.as_str()).collect();
        words.join(" and ")
    }

    fn fit(&self) -> Result<()> {
        match (self.tasks.scheme, self.results.as_ref().map(|r| r.scheme)) {
            (Scheme::Amqp, None) => bail!(
                "AMQP carries tasks only: name an MQTT broker for the rest with `results = \"mqtts://..\"`"
            ),
            (Scheme::Amqp, Some(Scheme::Mqtt)) | (_, None) => Ok(()),
            (Scheme::Amqp, Some(other)) => {
                bail!("results beside AMQP go over MQTT, not {}", other.as_str())
            }
            (one, Some(_)) => bail!(
                "{} carries results too: leave `results` out of [interconnect]",
                one.as_str()
            ),
        }
    }

    /// Opens them, and waits a little until they are there.
    ///
    /// # Errors
    /// What waiting does not mend: credentials, TLS, permissions, versions, other topology.
    pub async fn open(&self, name: &str) -> Result<Opened> {
        let shown = self.tasks.to_string();
        match self.tasks.scheme {
            Scheme::Nats => {
                let broker = nats::NatsBroker::open(self.tasks.clone(), name.to_owned());
                if let Err(error) = broker.until_there(THERE_WAIT).await {
                    waits_for(&shown, error.may_pass(), anyhow::anyhow!(error.text()))?;
                }
                Ok(Opened {
                    followers: vec![broker.clone()],
                    broker,
                })
            }
            Scheme::Mqtt => {
                let broker = open_mqtt(&self.tasks, name).await?;
                Ok(Opened {
                    followers: vec![broker.clone()],
                    broker,
                })
            }
            Scheme::Amqp => {
                let results = self.results.as_ref().context("interconnect.results")?;
                let queues = amqp::AmqpBroker::open(self.tasks.clone(), name.to_owned());
                let (there, directory) =
                    tokio::join!(queues.until_there(THERE_WAIT), open_mqtt(results, name));
                if let Err(error) = there {
                    waits_for(&shown, !error.is_lasting(), anyhow::anyhow!(error.text()))?;
                }
                let directory = directory?;
                Ok(Opened {
                    followers: vec![directory.clone()],
                    broker: Arc::new(PairBroker { queues, directory }),
                })
            }
        }
    }

    /// Looks at each without changing anything.
    pub async fn check(&self) -> Vec<(String, Vec<Finding>)> {
        let mut all = Vec::new();
        for address in std::iter::once(&self.tasks).chain(&self.results) {
            let found = match address.scheme {
                Scheme::Nats => nats::check(address).await,
                Scheme::Mqtt => mqtt::check(address).await,
                Scheme::Amqp => amqp::check(address).await,
            };
            all.push((address.to_string(), found));
        }
        all
    }
}

async fn open_mqtt(address: &Address, name: &str) -> Result<Arc<mqtt::MqttBroker>> {
    let broker = mqtt::MqttBroker::open(address.clone(), name.to_owned());
    if let Err(error) = broker.until_there(THERE_WAIT).await {
        let passing = !error.is_hopeless();
        waits_for(&address.to_string(), passing, anyhow::anyhow!(error.text()))?;
    }
    Ok(broker)
}

/// One that only a person can mend ends the start; another one is waited for while sengu runs.
fn waits_for(shown: &str, passing: bool, error: anyhow::Error) -> Result<()> {
    if !passing {
        return Err(error.context(format!("use the interconnect {shown}")));
    }
    tracing::warn!(
        interconnect = shown,
        error = format!("{error:#}"),
        "not there yet; trying on"
    );
    Ok(())
}

fn password(path: &Path) -> Result<Password> {
    super::files::check_private(path).with_context(|| format!("read {}", path.display()))?;
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Password::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

fn pem(path: Option<&Path>) -> Result<Option<Vec<u8>>> {
    path.map(|path| fs::read(path).with_context(|| format!("read {}", path.display())))
        .transpose()
}
