use sengu_sdk::*;
use std::collections::BTreeMap;
pub struct Fleet;
impl Twin for Fleet {
    async fn start(_: TwinOptions) -> Result<(Self, Vec<Record>), String> {
        Err(String::new())
    }
    fn fault(&self, _: Fault) -> Result<(), String> {
        Ok(())
    }
    fn clear(&self) {}
    fn report(&self) -> BTreeMap<String, TwinTarget> {
        BTreeMap::new()
    }
}
