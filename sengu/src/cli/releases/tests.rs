use super::*;
use serde_json::json;

pub fn release() -> Value {
    let cell = |firmware: &str| json!({"vendor":"Contoso","model":"-","firmware":firmware,"action":"observe"});
    json!({"kind":"Release","metadata":{"name":"redfish","revision":41},
    "spec":{"version":"1.4.0","rules":[
        {"name":"to-1.5.0","version":"1.5.0","where":"vendor=Contoso,firmware<2.0","share":"10%","steps":["50%","100%"],
         "guard":{"window":50,"hold":"30s","minFailures":3,"maxFailures":0.02,"maxLatency":2.0}},
        {"name":"to-1.6.0","version":"1.6.0","share":"5%","shadow":true,"guard":{}}],
        "pool":{"warm":2}},
    "status":{"followsBundled":false,"rules":[
        {"name":"to-1.5.0","version":"1.5.0","replaces":"1.4.0","phase":"Rolling","waitsFor":"24 of 50 tasks of this step have ended",
         "seen":{"tasks":120,"failed":3,"p50Ms":11,"p90Ms":41},"replaced":{"tasks":9000,"failed":9,"p50Ms":10,"p90Ms":40},
         "cells":[{"cell":cell("1.9"),"seen":{"tasks":3,"failed":3},"replaced":{"tasks":90,"failed":0},"held":true},
                  {"cell":cell("1.8"),"seen":{"tasks":117,"failed":0,"p90Ms":41},"replaced":{"tasks":800,"failed":9},"held":false}]},
        {"name":"to-1.6.0","version":"1.6.0","replaces":"1.4.0","phase":"Shadow","waitsFor":"","seen":{"tasks":0,"failed":0},
         "replaced":{"tasks":0,"failed":0},
         "shadow":{"compared":1200,"same":1190,"skipped":3,"differences":[
            {"field":"reading temperature_celsius{sensor=\"CPU1\"}","cell":cell("1.9"),"count":10,"stable":"41","candidate":"105.8","target":"bmc-7\u{1b}[2J"}]}}],
      "held":[{"version":"1.5.0","cell":cell("1.9"),"at":"2026-11-20T13:42:48Z",
        "why":"3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)"}],
      "previous":{"version":"1.4.0"},
      "history":[
        {"at":"2026-11-20T13:41:00.000Z","what":"promoted","version":"1.5.0","message":"gets 10% of vendor=Contoso,firmware<2.0"},
        {"at":"2026-11-20T13:42:48.000Z","what":"cell-rolled-back","version":"1.5.0","message":"cell goes back to 1.4.0"}]}})
}

#[test]
fn a_rollout_on_one_page() {
    let paint = Paint { on: false };
    let mut out = page(&release(), false, paint);
    out += "--- wide\n";
    out += &page(&release(), true, paint);
    out += "--- report\n";
    out += &report(&release(), paint).unwrap();
    out += "--- list\n";
    for wide in [false, true] {
        let mut table = views::table(super::super::nouns::Noun::Release, wide);
        // How long ago is left out: it grows.
        let mut calm = release();
        calm["status"]["history"] = json!([]);
        table.row(row(wide, &calm));
        table.row(row(wide, &json!({"metadata":{"name":"pdu"},"spec":{"version":"1.0.0"},"status":{"followsBundled":true}})));
        out += &table.take(paint);
    }
    expect_test::expect![[r#"
        release/redfish  the rest run 1.4.0
          VERSION   REPLACES   SHARE   NEXT       PHASE     NEW FAILED     OLD FAILED       NEW P90   OLD P90   WHERE
          1.5.0     1.4.0      10%     50%,100%   Rolling   3/120 (2.5%)   9/9,000 (0.1%)   41ms      40ms      vendor=Contoso,firmware<2.0
          1.6.0     1.4.0      5%      -          Shadow    -              -                -         -         all
          1.5.0 waits for: 24 of 50 tasks of this step have ended
          1.6.0 compared 1,200 reads, 1,190 of them alike; 3 not repeated; differences: sengu rollout report
          Rolled back
            1.5.0 on vendor=Contoso,firmware=1.9,action=observe: 3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)
          Moved
            13:41:00 promoted 1.5.0: gets 10% of vendor=Contoso,firmware<2.0
            13:42:48 cell-rolled-back 1.5.0: cell goes back to 1.4.0
        --- wide
        release/redfish  the rest run 1.4.0
          VERSION   REPLACES   SHARE   NEXT       PHASE     NEW FAILED     OLD FAILED       NEW P90   OLD P90   RULE       SINCE   GUARD                                                   WHERE
          1.5.0     1.4.0      10%     50%,100%   Rolling   3/120 (2.5%)   9/9,000 (0.1%)   41ms      40ms      to-1.5.0   -       window 50, hold 30s, from 3 failures, +2%, latency x2   vendor=Contoso,firmware<2.0
          1.6.0     1.4.0      5%      -          Shadow    -              -                -         -         to-1.6.0   -       -                                                       all
          1.5.0 waits for: 24 of 50 tasks of this step have ended
          1.6.0 compared 1,200 reads, 1,190 of them alike; 3 not repeated; differences: sengu rollout report
          VERSION   NEW FAILED   OLD FAILED     NEW P90   OLD P90   HELD   CELL
          1.5.0     3/3 (100%)   0/90 (0%)      -         -         held   vendor=Contoso,firmware=1.9,action=observe
          1.5.0     0/117 (0%)   9/800 (1.1%)   41ms      -         -      vendor=Contoso,firmware=1.8,action=observe
          Rolled back
            1.5.0 on vendor=Contoso,firmware=1.9,action=observe: 3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)
          Moved
            13:41:00 promoted 1.5.0: gets 10% of vendor=Contoso,firmware<2.0
            13:42:48 cell-rolled-back 1.5.0: cell goes back to 1.4.0
        --- report
        redfish@1.6.0 beside 1.4.0: 1,200 compared, 1,190 alike, 3 not repeated
          COUNT   FIELD                                        IN USE   NEW     TARGET           CELL
          10      reading temperature_celsius{sensor="CPU1"}   41       105.8   bmc-7\u{1b}[2J   vendor=Contoso,firmware=1.9,action=observe
        --- list
        NAME      VERSION   PHASE     HELD   MOVED   ROLLOUT
        redfish   1.4.0     Rolling   1      -       1.5.0 gets 10% of vendor=Contoso,firmware<2.0; 1.6.0 shadows 5% of all
        pdu       1.0.0     -         0      -       -
        NAME      VERSION   PHASE     HELD   MOVED   ROLLOUT                                                            POOL     FOLLOWS   LAST
        redfish   1.4.0     Rolling   1      -       1.5.0 gets 10% of vendor=Contoso,firmware<2.0; 1.6.0 shadows 5% of all   warm=2   -         -
        pdu       1.0.0     -         0      -       -                                                                  -        sengu     -
    "#]].assert_eq(&out);
}

#[test]
fn a_release_is_described() {
    let mut page = Page {
        out: String::new(),
        paint: Paint { on: false },
    };
    describe(&mut page, &release());
    expect_test::expect![[r#"
        Name:         redfish
        Kind:         Release
        Labels:       -
        Revision:     41
        Version:      1.4.0
        Before:       1.4.0 (sengu rollback)
        Pool:
          warm:  2
        Rules:
          VERSION   REPLACES   SHARE   NEXT       PHASE     NEW FAILED     OLD FAILED       NEW P90   OLD P90   RULE       SINCE   GUARD                                                   WHERE
          1.5.0     1.4.0      10%     50%,100%   Rolling   3/120 (2.5%)   9/9,000 (0.1%)   41ms      40ms      to-1.5.0   -       window 50, hold 30s, from 3 failures, +2%, latency x2   vendor=Contoso,firmware<2.0
          1.6.0     1.4.0      5%      -          Shadow    -              -                -         -         to-1.6.0   -       -                                                       all
        Waits for:    24 of 50 tasks of this step have ended
        Cells:
          VERSION   NEW FAILED   OLD FAILED     NEW P90   OLD P90   HELD   CELL
          1.5.0     3/3 (100%)   0/90 (0%)      -         -         held   vendor=Contoso,firmware=1.9,action=observe
          1.5.0     0/117 (0%)   9/800 (1.1%)   41ms      -         -      vendor=Contoso,firmware=1.8,action=observe
          Rolled back
            1.5.0 on vendor=Contoso,firmware=1.9,action=observe: 3 of 3 tasks failed (the version in use: 0 of 90; 2.0 % more are borne)
        redfish@1.6.0 beside 1.4.0: 1,200 compared, 1,190 alike, 3 not repeated
          COUNT   FIELD                                        IN USE   NEW     TARGET           CELL
          10      reading temperature_celsius{sensor="CPU1"}   41       105.8   bmc-7\u{1b}[2J   vendor=Contoso,firmware=1.9,action=observe
          Moved
            13:41:00 promoted 1.5.0: gets 10% of vendor=Contoso,firmware<2.0
            13:42:48 cell-rolled-back 1.5.0: cell goes back to 1.4.0
    "#]].assert_eq(&page.out);
}

#[test]
fn what_moved_is_told_in_one_line() {
    let all = json!({"metadata":{"name":"redfish"},"spec":{"version":"1.5.0"}});
    let mut lines = vec![
        moved(&release(), "1.5.0", "vendor=Contoso,firmware<2.0"),
        moved(&release(), "1.6.0", ""),
        moved(&all, "1.5.0", ""),
    ];
    let mut settled = release();
    settled["spec"]["rules"][0]["steps"] = json!([]);
    settled["spec"]["rules"][0]["guard"] = Value::Null;
    settled["status"]["rules"][0]["phase"] = json!("Settled");
    lines.push(moved(&settled, "1.5.0", "vendor=Contoso,firmware<2.0"));
    expect_test::expect![[r#"
        release/redfish: 1.5.0 gets 10% of vendor=Contoso,firmware<2.0 (guarded, then 50%, 100%; rest 1.4.0 and 1 other rule)
        release/redfish: 1.6.0 shadows 5% of all (rest 1.4.0 and 1 other rule)
        release/redfish: all run 1.5.0
        release/redfish: 1.5.0 gets 10% of vendor=Contoso,firmware<2.0 (nobody watches; settled; rest 1.4.0 and 1 other rule)"#]].assert_eq(&lines.join("\n"));
}
