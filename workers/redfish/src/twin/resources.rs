//! The Redfish tree of one stand-in, made afresh for every request from the machine's state.

use super::machine::{Family, Machine, Power};
use super::server::{Answer, Asked, error, reply, with_etag};
use hyper::Method;
use hyper::header::{LOCATION, RETRY_AFTER};
use sengu_sdk::Time;
use serde_json::{Value, json};

pub const ROOT: &str = "/redfish/v1";
pub const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
const SYSTEM: &str = "/redfish/v1/Systems/437XR1138R2";
const RESET: &str = "/redfish/v1/Systems/437XR1138R2/Actions/ComputerSystem.Reset";
const RESET_INFO: &str = "/redfish/v1/Systems/437XR1138R2/ResetActionInfo";
const CHASSIS: &str = "/redfish/v1/Chassis/1U";
const MANAGER: &str = "/redfish/v1/Managers/BMC";
const INVENTORY: &str = "/redfish/v1/UpdateService/FirmwareInventory";
const TASKS: &str = "/redfish/v1/TaskService/Tasks";
const MONITORS: &str = "/redfish/v1/TaskService/TaskMonitors";
const RESET_TYPES: &[&str] = &[
    "On",
    "ForceOff",
    "GracefulShutdown",
    "GracefulRestart",
    "ForceRestart",
    "PowerCycle",
];
const BOOT_TARGETS: &[&str] = &["None", "Pxe", "Hdd", "Cd", "Usb", "BiosSetup", "UefiHttp"];

pub fn read(machine: &mut Machine, asked: &Asked) -> Answer {
    let power = machine.power(asked.now);
    if asked.method == Method::DELETE {
        let id = asked
            .path
            .strip_prefix(SESSIONS)
            .and_then(|rest| rest.strip_prefix('/'));
        return match id.and_then(|id| machine.sessions.remove(id)) {
            Some(_) => reply(204, &Value::Null),
            None => missing(),
        };
    }
    if asked.method != Method::GET {
        return error(405, "Base.1.8.OperationNotAllowed", "Not here.", &[]);
    }
    if let Some(answer) = task(machine, asked) {
        return answer;
    }
    match body(machine, asked, power) {
        Some(body) => with_etag(reply(200, &body), &etag(machine)),
        None => missing(),
    }
}

fn missing() -> Answer {
    error(
        404,
        "Base.1.8.ResourceMissingAtURI",
        "There is nothing here.",
        &[],
    )
}

fn etag(machine: &Machine) -> String {
    match machine.family {
        Family::Northwind => format!("W/\"{}\"", machine.version),
        _ => format!("\"{}\"", machine.version),
    }
}

fn at(path: &str) -> Value {
    json!({"@odata.id": path})
}

fn collection(path: &str, members: &[Value]) -> Value {
    json!({"@odata.id": path, "Members": members, "Members@odata.count": members.len()})
}

fn ok() -> Value {
    json!({"State": "Enabled", "Health": "OK", "HealthRollup": "OK"})
}

fn body(machine: &Machine, asked: &Asked, power: Power) -> Option<Value> {
    let sessions = !machine.whims.no_sessions;
    let path = asked.path.as_str();
    let on = matches!(power, Power::On | Power::PoweringOff);
    let mut body = match path {
        ROOT => {
            let mut root = json!({
                "@odata.type": "#ServiceRoot.v1_15_0.ServiceRoot", "Id": "RootService",
                "RedfishVersion": "1.17.0", "Vendor": machine.vendor(), "UUID": machine.uuid,
                "Systems": at("/redfish/v1/Systems"), "Chassis": at("/redfish/v1/Chassis"),
                "Managers": at("/redfish/v1/Managers"), "Tasks": at("/redfish/v1/TaskService"),
                "UpdateService": at("/redfish/v1/UpdateService"),
                "ProtocolFeaturesSupported": {
                    "ExpandQuery": {"NoLinks": machine.family == Family::Northwind, "MaxLevels": 1},
                },
            });
            if sessions {
                root["SessionService"] = at("/redfish/v1/SessionService");
                root["Links"] = json!({"Sessions": at(SESSIONS)});
            }
            root
        }
        "/redfish/v1/SessionService" if sessions => json!({
            "ServiceEnabled": true, "SessionTimeout": 1800, "Sessions": at(SESSIONS),
        }),
        SESSIONS if sessions => {
            let path = |id: &String| at(&format!("{SESSIONS}/{id}"));
            let members: Vec<Value> = machine.sessions.keys().map(path).collect();
            collection(SESSIONS, &members)
        }
        "/redfish/v1/Systems" => collection(path, &[at(SYSTEM)]),
        SYSTEM => system(machine, power),
        RESET_INFO => json!({
            "Id": "ResetActionInfo", "Parameters": [{
                "Name": "ResetType", "Required": true, "DataType": "String",
                "AllowableValues": RESET_TYPES,
            }],
        }),
        "/redfish/v1/Chassis" => collection(path, &[at(CHASSIS)]),
        CHASSIS => chassis(machine),
        "/redfish/v1/Managers" => collection(path, &[at(MANAGER)]),
        MANAGER => json!({
            "@odata.type": "#Manager.v1_19_0.Manager", "Id": "BMC", "Name": "Manager",
            "ManagerType": "BMC", "Model": format!("{} BMC", machine.vendor()),
            "FirmwareVersion": machine.bmc_version, "DateTime": asked.now.to_string(),
            "PowerState": "On", "Status": ok(),
        }),
        "/redfish/v1/UpdateService" => json!({
            "ServiceEnabled": true, "FirmwareInventory": at(INVENTORY),
        }),
        INVENTORY => expandable(asked, INVENTORY, &firmware(machine)),
        _ => return member(machine, asked, on),
    };
    body["@odata.id"] = json!(path);
    Some(body)
}

fn system(machine: &Machine, power: Power) -> Value {
    let mut system = json!({
        "@odata.type": "#ComputerSystem.v1_20_0.ComputerSystem", "Id": "437XR1138R2",
        "Name": "System", "SystemType": "Physical", "Manufacturer": machine.vendor(),
        "Model": machine.model, "SerialNumber": machine.serial, "UUID": machine.uuid,
        "SKU": format!("SKU-{}", machine.seed % 10_000), "BiosVersion": machine.bios_version,
        "PowerState": power.as_str(), "Status": ok(),
        "ProcessorSummary": {"Count": 2, "Model": "Multi-Core Processor", "Status": ok()},
        "MemorySummary": {"TotalSystemMemoryGiB": 256 + 256 * (machine.seed % 4), "Status": ok()},
        "Boot": {
            "BootSourceOverrideEnabled": machine.boot_enabled,
            "BootSourceOverrideTarget": machine.boot_target,
            "BootSourceOverrideMode": machine.boot_mode,
            "BootSourceOverrideTarget@Redfish.AllowableValues": BOOT_TARGETS,
        },
        "Links": {"Chassis": [at(CHASSIS)], "ManagedBy": [at(MANAGER)]},
        "Actions": {"#ComputerSystem.Reset": {"target": RESET}},
    });
    let reset = &mut system["Actions"]["#ComputerSystem.Reset"];
    match machine.family {
        Family::Northwind => reset["@Redfish.ActionInfo"] = json!(RESET_INFO),
        _ => reset["ResetType@Redfish.AllowableValues"] = json!(RESET_TYPES),
    }
    match machine.family {
        Family::Contoso => system["IndicatorLED"] = json!(machine.led),
        _ => system["LocationIndicatorActive"] = json!(machine.led != "Off"),
    }
    if !machine.whims.no_reset_time {
        system["LastResetTime"] = json!(machine.last_reset.to_string());
    }
    system
}

fn chassis(machine: &Machine) -> Value {
    let mut chassis = json!({
        "@odata.type": "#Chassis.v1_23_0.Chassis", "Id": "1U", "ChassisType": "RackMount",
        "Manufacturer": machine.vendor(), "Model": machine.model, "Status": ok(),
        "Links": {"ComputerSystems": [at(SYSTEM)], "ManagedBy": [at(MANAGER)]},
    });
    let names: &[&str] = match machine.family {
        Family::Contoso => &["Thermal", "Power"],
        Family::Northwind => &["EnvironmentMetrics", "Sensors", "ThermalSubsystem"],
        Family::Fabrikam => &["EnvironmentMetrics", "ThermalSubsystem"],
    };
    for name in names {
        chassis[*name] = at(&format!("{CHASSIS}/{name}"));
    }
    chassis
}

/// Readings move with the machine, so that a fleet does not look like copies.
struct Readings {
    inlet: f64,
    cpu: f64,
    fans: [f64; 4],
    watts: f64,
}

fn readings(machine: &Machine, on: bool) -> Readings {
    let vary = |range: u64, shift: u32| ((machine.seed >> shift) % range) as f64;
    let idle = if on { 1.0 } else { 0.0 };
    Readings {
        inlet: 20.0 + vary(60, 3) / 10.0,
        cpu: 28.0 + idle * (14.0 + vary(200, 9) / 10.0),
        fans: [0, 1, 2, 3].map(|n| idle * (4_800.0 + vary(40, 7 + n) * 30.0)),
        watts: 12.0 + idle * (220.0 + vary(1_800, 17) / 10.0),
    }
}

fn firmware(machine: &Machine) -> Vec<(&'static str, Value)> {
    let item = |id: &'static str, version: &str| {
        let body = json!({"Id": id, "Name": id, "Version": version, "Updateable": true});
        (id, body)
    };
    vec![
        item("BIOS", &machine.bios_version),
        item("BMC", &machine.bmc_version),
        item("NIC.1", &format!("22.{}.6", machine.seed % 40)),
    ]
}

/// A collection of resources, with its members inside when that was asked for.
fn expandable(asked: &Asked, path: &str, members: &[(&'static str, Value)]) -> Value {
    let item = |(id, body): &(&'static str, Value)| {
        let id = format!("{path}/{id}");
        if asked.expand {
            let mut body = body.clone();
            body["@odata.id"] = json!(id);
            body
        } else {
            at(&id)
        }
    };
    let members: Vec<Value> = members.iter().map(item).collect();
    collection(path, &members)
}

/// Everything below the chassis and the inventory.
fn member(machine: &Machine, asked: &Asked, on: bool) -> Option<Value> {
    let path = asked.path.as_str();
    let of = |members: Vec<(&'static str, Value)>, id: &str| {
        let found = members.into_iter().find(|(known, _)| *known == id);
        found.map(|(_, body)| body)
    };
    if let Some(id) = path
        .strip_prefix(INVENTORY)
        .and_then(|r| r.strip_prefix('/'))
    {
        return of(firmware(machine), id);
    }
    let below = path.strip_prefix(CHASSIS)?.strip_prefix('/')?;
    let now = readings(machine, on);
    // Only what this family's chassis links to.
    chassis(machine).get(below.split('/').next().unwrap_or(below))?;
    Some(match below {
        "Thermal" => json!({
            "Id": "Thermal",
            "Temperatures": [
                {"MemberId": "0", "Name": "Inlet", "ReadingCelsius": now.inlet, "PhysicalContext": "Intake", "Status": ok()},
                {"MemberId": "1", "Name": "CPU1", "ReadingCelsius": now.cpu, "PhysicalContext": "CPU", "Status": ok()},
                {"MemberId": "2", "Name": "CPU2", "ReadingCelsius": null, "Status": {"State": "Absent"}},
            ],
            "Fans": thermal_fans(&now),
        }),
        "Power" => json!({
            "Id": "Power", "PowerControl": [{
                "MemberId": "0", "PowerConsumedWatts": now.watts, "PowerCapacityWatts": 800,
                "PowerLimit": {"LimitInWatts": machine.cap_watts},
            }],
        }),
        "EnvironmentMetrics" => json!({
            "Id": "EnvironmentMetrics", "PowerWatts": {"Reading": now.watts},
            "EnergykWh": {"Reading": 1_000.0 + now.inlet},
            "PowerLimitWatts": {
                "SetPoint": machine.cap_watts, "AllowableMin": 100, "AllowableMax": 800,
                "ControlMode": if machine.cap_watts.is_some() { "Automatic" } else { "Disabled" },
            },
        }),
        "Sensors" => expandable(asked, path, &sensors(&now)),
        "ThermalSubsystem" => json!({
            "Id": "ThermalSubsystem",
            "ThermalMetrics": at(&format!("{CHASSIS}/ThermalSubsystem/ThermalMetrics")),
            "Fans": at(&format!("{CHASSIS}/ThermalSubsystem/Fans")),
        }),
        "ThermalSubsystem/ThermalMetrics" => json!({
            "Id": "ThermalMetrics", "TemperatureReadingsCelsius": [
                {"DeviceName": "Inlet", "Reading": now.inlet, "PhysicalContext": "Intake"},
                {"DeviceName": "CPU1", "Reading": now.cpu, "PhysicalContext": "CPU"},
            ],
        }),
        "ThermalSubsystem/Fans" => expandable(asked, path, &fans(&now)),
        _ => {
            let inside = |folder: &str| below.strip_prefix(folder)?.strip_prefix('/');
            return match (inside("Sensors"), inside("ThermalSubsystem/Fans")) {
                (Some(id), _) => of(sensors(&now), id),
                (_, Some(id)) => of(fans(&now), id),
                _ => None,
            };
        }
    })
}

fn thermal_fans(now: &Readings) -> Vec<Value> {
    let fan = |(n, rpm): (usize, &f64)| {
        json!({
            "MemberId": n.to_string(), "Name": format!("Fan{}", n + 1), "Reading": rpm,
            "ReadingUnits": "RPM", "Status": ok(),
        })
    };
    now.fans.iter().enumerate().map(fan).collect()
}

fn sensors(now: &Readings) -> Vec<(&'static str, Value)> {
    let sensor = |id: &'static str, kind: &str, unit: &str, context: &str, value: f64| {
        let body = json!({
            "Id": id, "Name": id, "ReadingType": kind, "ReadingUnits": unit,
            "PhysicalContext": context, "Reading": value, "Status": ok(),
        });
        (id, body)
    };
    vec![
        sensor("Inlet", "Temperature", "Cel", "Intake", now.inlet),
        sensor("CPU1", "Temperature", "Cel", "CPU", now.cpu),
        sensor("Fan1", "Rotational", "RPM", "Fan", now.fans[0]),
        sensor("Fan2", "Rotational", "RPM", "Fan", now.fans[1]),
        sensor("PSU1Volts", "Voltage", "V", "PowerSupply", 230.0),
    ]
}

fn fans(now: &Readings) -> Vec<(&'static str, Value)> {
    let fan = |id: &'static str, rpm: f64| {
        let speed = json!({"Reading": (rpm / 120.0).round(), "SpeedRPM": rpm});
        (
            id,
            json!({"Id": id, "Name": id, "SpeedPercent": speed, "Status": ok()}),
        )
    };
    vec![fan("Fan1", now.fans[0]), fan("Fan2", now.fans[1])]
}

/// A Task or its monitor, if that is what was asked for.
fn task(machine: &Machine, asked: &Asked) -> Option<Answer> {
    let below = |folder: &str| {
        asked
            .path
            .strip_prefix(folder)?
            .strip_prefix('/')?
            .parse()
            .ok()
    };
    let (monitor, id) = match (below(MONITORS), below(TASKS)) {
        (Some(id), _) => (true, id),
        (_, Some(id)) => (false, id),
        _ => return None,
    };
    let Some((_, due)) = machine.tasks.iter().find(|(known, _)| *known == id) else {
        return Some(missing());
    };
    let over = *due <= asked.now;
    Some(match (monitor, over) {
        (true, true) => reply(204, &Value::Null),
        (true, false) => accepted(id, *due, asked.now),
        (false, _) => reply(200, &task_body(id, over)),
    })
}

fn task_body(id: u64, over: bool) -> Value {
    let state = if over { "Completed" } else { "Running" };
    json!({
        "@odata.id": format!("{TASKS}/{id}"), "Id": id.to_string(), "TaskState": state,
        "TaskStatus": "OK", "TaskMonitor": format!("{MONITORS}/{id}"),
    })
}

fn accepted(id: u64, due: Time, now: Time) -> Answer {
    let mut answer = reply(202, &task_body(id, false));
    let seconds = due.ms_since(now).div_ceil(1_000).to_string();
    let headers = answer.headers_mut();
    if let (Ok(location), Ok(seconds)) = (format!("{MONITORS}/{id}").parse(), seconds.parse()) {
        headers.insert(LOCATION, location);
        headers.insert(RETRY_AFTER, seconds);
    }
    answer
}

/// POST and PATCH. A `deaf` machine accepts a reset and does nothing.
pub fn change(machine: &mut Machine, asked: &Asked, deaf: bool) -> Answer {
    let power = machine.power(asked.now);
    if asked.method == Method::POST && asked.path == RESET {
        return reset(machine, asked, deaf);
    }
    let known = body(machine, asked, power).is_some();
    if asked.method != Method::PATCH || !known {
        return if known {
            error(405, "Base.1.8.OperationNotAllowed", "Not here.", &[])
        } else {
            missing()
        };
    }
    match &asked.if_match {
        Some(given) if *given != etag(machine) && given != "*" => {
            return error(
                412,
                "Base.1.8.PreconditionFailed",
                "It changed meanwhile.",
                &[],
            );
        }
        None if machine.family == Family::Fabrikam => {
            return error(
                428,
                "Base.1.8.PreconditionRequired",
                "If-Match is wanted.",
                &[],
            );
        }
        _ => {}
    }
    match patch(machine, asked) {
        Ok(()) => {
            machine.version += 1;
            reply(204, &Value::Null)
        }
        Err(what) => {
            let text = format!("The value of {what} is not accepted.");
            error(400, "Base.1.8.PropertyValueNotInList", &text, &[what])
        }
    }
}

fn reset(machine: &mut Machine, asked: &Asked, deaf: bool) -> Answer {
    let reset_type = asked.body["ResetType"].as_str().unwrap_or_default();
    if !RESET_TYPES.contains(&reset_type) {
        return error(
            400,
            "Base.1.8.ActionParameterNotSupported",
            "Unknown ResetType.",
            &[],
        );
    }
    if !deaf {
        machine.reset(reset_type, asked.now);
    }
    if machine.family != Family::Fabrikam {
        return reply(204, &Value::Null);
    }
    let id = machine.task(asked.now);
    let due = asked.now.plus_ms(machine.reset_ms());
    accepted(id, due, asked.now)
}

fn patch(machine: &mut Machine, asked: &Asked) -> Result<(), &'static str> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match asked.path.as_str() {
        SYSTEM => {
            let boot = &asked.body["Boot"];
            let target = text(&boot["BootSourceOverrideTarget"]);
            if target
                .as_ref()
                .is_some_and(|t| !BOOT_TARGETS.contains(&t.as_str()))
            {
                return Err("BootSourceOverrideTarget");
            }
            if boot.is_object() {
                machine.boot_target = target.unwrap_or_else(|| machine.boot_target.clone());
                let enabled = text(&boot["BootSourceOverrideEnabled"]);
                machine.boot_enabled = enabled.unwrap_or_else(|| machine.boot_enabled.clone());
                let mode = text(&boot["BootSourceOverrideMode"]);
                machine.boot_mode = mode.unwrap_or_else(|| machine.boot_mode.clone());
                machine.count("boot.set");
            }
            let led = text(&asked.body["IndicatorLED"]);
            let active = asked.body["LocationIndicatorActive"].as_bool();
            let led = led.or_else(|| active.map(|on| if on { "Lit" } else { "Off" }.to_owned()));
            if let Some(led) = led {
                machine.led = led;
                machine.count("led.set");
            }
            Ok(())
        }
        path if path.ends_with("/Power") => {
            machine.cap_watts =
                asked.body["PowerControl"][0]["PowerLimit"]["LimitInWatts"].as_f64();
            machine.count("powercap.set");
            Ok(())
        }
        path if path.ends_with("/EnvironmentMetrics") => {
            let limit = &asked.body["PowerLimitWatts"];
            machine.cap_watts = match limit["ControlMode"].as_str() {
                Some("Disabled") => None,
                _ => limit["SetPoint"].as_f64(),
            };
            machine.count("powercap.set");
            Ok(())
        }
        _ => Err("this resource"),
    }
}
