//! The configuration as files: `gatehouse config` and the watched folder, as an operator uses them.

use gatehouse_tests::daemon::{Daemon, PASSWORD, console};
use gatehouse_tests::upstream;
use gatehouse_tests::wait::eventually;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

const SECRET: &str = "sk-this-key-is-nobodys-business";

struct House {
    folder: tempfile::TempDir,
    daemon: Daemon,
    root: String,
}

impl House {
    fn new(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::start(&folder.path().join("data"), settings).unwrap();
        let root = daemon.login("admin", PASSWORD).unwrap();
        Self { folder, daemon, root }
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.daemon.call(method, &format!("/platform{path}"), &self.root, body).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// `gatehouse config …`: exit code, output, complaints.
    fn config(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(console());
        command.env_clear().env("GATEHOUSE_SOCKET", self.daemon.socket("operate.sock"));
        let done = command.arg("config").args(words).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let told = (done.status.code().unwrap(), text(done.stdout), text(done.stderr));
        assert!(!told.1.contains(SECRET) && !told.2.contains(SECRET), "{told:?}");
        told
    }

    fn newest(&self) -> Value {
        self.call("GET", "/config/revisions?limit=1", None).1["revisions"][0].clone()
    }
}

fn shop(house: &House, server: &str) -> String {
    let key = house.write("key", &format!("{SECRET}\n"));
    let password = house.write("password", PASSWORD);
    format!(
        r#"
[[roles]]
role_name = "helper"
manage_apis = true

[[groups]]
group_name = "staff"

[[credits]]
api_credit_group = "gold"
api_key_header = "x-api-key"
api_key = "file:{key}"
credit_tiers = [{{ tier_name = "basic", credits = 100, reset_frequency = "monthly" }}]

[[tiers]]
tier_id = "pro"
name = "pro"
display_name = "Pro"
limits = {{ requests_per_minute = 1000 }}

[[apis]]
api_name = "shop"
api_version = "v1"
api_servers = ["{server}"]
api_allowed_groups = ["staff"]

[[apis.endpoints]]
endpoint_method = "get"
endpoint_uri = "echo"

[[apis.endpoints]]
endpoint_method = "POST"
endpoint_uri = "/echo"
validation = {{ json_schema = {{ type = "object", required = ["name"] }} }}

[[users]]
username = "ana"
email = "ana@x.org"
role = "helper"
groups = ["staff"]
password = "file:{password}"
subscriptions = ["shop/v1"]
tier = "pro"
credits = {{ gold = {{ tier_name = "basic", available_credits = 50 }} }}

[[routings]]
client_key = "k"
routing_name = "r"
routing_servers = ["{server}"]

[[rate_rules]]
rule_id = "all"
rule_type = "global"
time_window = "minute"
limit = 100000

[[vault]]
username = "ana"
key_name = "bank"
value = "file:{key}"

[security]
dump_path = "generated/mine.bin"
"#
    )
}

/// Whether any file below a folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| match entry.file_type().unwrap() {
        kind if kind.is_dir() => holds(&entry.path(), bytes),
        kind if kind.is_file() => {
            let text = std::fs::read(entry.path()).unwrap();
            text.windows(bytes.len()).any(|window| window == bytes)
        }
        _ => false,
    })
}

#[test]
fn what_a_file_declares_is_made_so_and_no_more() {
    let house = House::new(&[]);
    let server = format!("http://{}", upstream::start().unwrap());
    let text = shop(&house, &server);
    let file = house.write("shop.toml", &text);
    assert_eq!(house.call("POST", "/group", Some(json!({"group_name": "by-hand"}))).0, 201);
    let before = house.newest();
    let (code, told, errors) = house.config(&["check", &file]);
    assert!(code == 0 && told.contains("well formed"), "{told}{errors}");
    let (code, told, errors) = house.config(&["diff", &file]);
    assert!(
        code == 2 && told.contains("+ apis shop/v1") && told.contains("routes touched: shop/v1"),
        "{told}{errors}"
    );
    assert_eq!(house.newest(), before, "looking changes nothing");
    let (code, told, errors) = house.config(&["apply", &file]);
    assert!(code == 0 && told.contains("revision "), "{told}{errors}");
    let made = house.newest();
    assert_eq!(made["action"], "config.apply");
    let ana = house.daemon.login("ana", PASSWORD).unwrap();
    let call =
        |method: &str, body| house.daemon.call(method, "/api/rest/shop/v1/echo", &ana, body).unwrap().0;
    assert_eq!((call("GET", None), call("POST", Some(json!({"name": 1})))), (200, 200));
    assert_eq!(call("POST", Some(json!({}))), 400, "its validation counts");
    assert_eq!(house.call("GET", "/credit/ana", None).1["users_credits"]["gold"]["available_credits"], 50);
    for again in [vec!["diff", file.as_str()], vec!["apply", &file]] {
        let (code, told, errors) = house.config(&again);
        assert!(code == 0 && told.contains("nothing differs"), "{again:?}: {told}{errors}");
    }
    assert_eq!(house.newest(), made, "what is so already makes no revision");
    assert_eq!(
        house.daemon.call("GET", "/platform/user/me", &ana, None).unwrap().0,
        200,
        "the token is alive"
    );
    for format in ["toml", "yaml"] {
        let (code, exported, _) = house.config(&["export", "--format", format]);
        assert!(code == 0 && exported.contains("shop") && !exported.contains("argon2"), "{exported}");
        let whole = house.write(&format!("whole.{format}"), &exported);
        let (code, told, errors) = house.config(&["diff", &whole, "--prune"]);
        assert!(code == 0 && told.contains("nothing differs"), "{format}: {told}{errors}\n{exported}");
    }
    let less = text.replace("[[rate_rules]]", "[[groups]]\ngroup_name = \"other\"\n[[rate_rules]]");
    let less: Vec<&str> = less.split("[[routings]]").collect();
    let less = format!("{}[[routings]]{}", less[0].split("[[users]]").next().unwrap(), less[1]);
    let less = less.split("[[vault]]").next().unwrap().to_owned();
    house.write("shop.toml", &less);
    let (code, told, errors) = house.config(&["apply", &file]);
    assert!(code == 0 && told.contains("- users ana") && told.contains("+ groups other"), "{told}{errors}");
    assert_eq!(house.call("GET", "/user/ana", None).0, 404, "it was declared and is no longer");
    assert_eq!(house.call("GET", "/group/by-hand", None).0, 200, "what was made by hand stays");
    assert_eq!(house.call("GET", "/api/shop/v1", None).0, 200);
    let (code, told, errors) = house.config(&["apply", &file, "--prune"]);
    assert!(
        code == 0 && told.contains("- groups by-hand") && !told.contains("roles admin"),
        "{told}{errors}"
    );
    assert_eq!(house.call("GET", "/group/ALL", None).0, 200, "what every appliance has stays");
    let (code, listed, _) = house.config(&["history"]);
    assert!(code == 0 && listed.contains("config.apply"), "{listed}");
    let (code, told, errors) = house.config(&["rollback", &made["id"].to_string()]);
    assert!(code == 0 && told.contains("+ users ana"), "{told}{errors}");
    assert_eq!(house.daemon.login("ana", PASSWORD).map(drop).ok(), Some(()));
    let (code, told, _) = house.config(&["diff", &file]);
    assert!(code == 2 && told.contains("- users ana"), "who declared what has come back too: {told}");
    let data = house.folder.path().join("data");
    house.daemon.kill().unwrap();
    assert!(!holds(&data, SECRET.as_bytes()), "no file holds the secret");
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_changes_nothing() {
    let house = House::new(&[]);
    let before = house.newest();
    for (text, part) in [
        ("[[groups]]\ngroup_name = \n", "bad.toml:2: "),
        (
            "\n[[apis]]\napi_name = \"a\"\napi_version = \"v1\"\napi_servers = [\"nowhere\"]\n",
            "bad.toml:2: apis: api_servers",
        ),
        ("[[groups]]\ngroup_name = \"a\"\ngruop = 1\n", "bad.toml:1: groups: gruop: expected no such field"),
        ("[[groups]]\ngroup_name = \"a\"\n[[groups]]\ngroup_name = \"a\"\n", "bad.toml:3: groups"),
        (
            "[[users]]\nusername = \"ana\"\nemail = \"a@x.org\"\nrole = \"user\"\npassword = \"clear-text\"\n",
            "bad.toml:1: expected a reference to a secret",
        ),
        (
            "[[users]]\nusername = \"ana\"\nemail = \"a@x.org\"\nrole = \"user\"\nsubscriptions = [\"none/v1\"]\n",
            "bad.toml:1: users: subscriptions",
        ),
        ("[[vault]]\nusername = \"nobody\"\nkey_name = \"k\"\nvalue = \"env:PATH\"\n", "bad.toml:1"),
    ] {
        let file = house.write("bad.toml", text);
        for action in ["check", "apply"] {
            let (code, told, errors) = house.config(&[action, &file]);
            assert!(code == 1 && errors.contains(part), "{action} {text}: {code} {told}{errors}");
            assert!(!errors.contains("clear-text"), "{errors}");
        }
    }
    let (one, two) = (
        house.write("one.yaml", "groups: [{group_name: a}]\n"),
        house.write("two.yaml", "groups: [{group_name: a}]\n"),
    );
    let (code, _, errors) = house.config(&["apply", &one, &two]);
    assert!(code == 1 && errors.contains("one.yaml:1") && errors.contains("two.yaml:1"), "{errors}");
    assert_eq!(house.newest(), before);
    let (code, schema, _) = house.config(&["schema"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!((code, &schema["properties"]["apis"]["type"]), (0, &json!("array")));
    for wrong in [vec![], vec!["aply"], vec!["apply"], vec!["rollback", "x"], vec!["diff", "--unknown", "x"]]
    {
        assert_eq!(house.config(&wrong).0, 64, "{wrong:?}");
    }
}

/// Puts a file in another's place, as editors do.
fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join(format!(".{name}.new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

#[test]
fn a_watched_folder_is_the_configuration_and_a_bad_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf.d");
    std::fs::create_dir(&conf).unwrap();
    put(&conf, "10-groups.toml", "[[groups]]\ngroup_name = \"one\"\n");
    let house = House::new(&[("GATEHOUSE_CONFIG_DIR", conf.to_str().unwrap())]);
    let there = |name: &str| house.call("GET", &format!("/group/{name}"), None).0 == 200;
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        eventually(what, || if is() { Ok(()) } else { anyhow::bail!("not yet") }).unwrap();
    };
    let ill = || {
        let (_, items) = house.daemon.ops("GET", "/v1/health", None).unwrap();
        let found = items.as_array().unwrap().iter().find(|item| item["check"] == "config").cloned();
        found
            .filter(|item| item["code"] == "CONFIG-BAD")
            .map(|item| item["summary"].as_str().unwrap().to_owned())
    };
    wait("the folder to be in force at the start", &|| there("one"));
    let made = house.newest();
    assert_eq!((&made["actor"], &made["source"]), (&json!("config"), &json!("config_dir")));
    put(&conf, "20-more.yaml", "groups:\n  - group_name: two\n");
    wait("a new file to be in force", &|| there("two"));
    put(&conf, "20-more.yaml", "groups:\n  - group_name: three\n  - group_name: [\n");
    wait("a bad file to be told", &|| ill().is_some_and(|text| text.contains("20-more.yaml:")));
    assert!(there("two") && !there("three"), "and nothing changed");
    put(&conf, "20-more.yaml", "groups:\n  - group_name: one\n");
    wait("a double to be told", &|| {
        ill().is_some_and(|text| text.contains("10-groups.toml:1") && text.contains("20-more.yaml:2"))
    });
    put(&conf, "20-more.yaml", "groups:\n  - group_name: three\n");
    wait("the mended file to be in force", &|| there("three") && !there("two"));
    wait("the complaint to end", &|| ill().is_none());
    let file = house.write("mine.toml", "[[groups]]\ngroup_name = \"three\"\n");
    let (code, _, errors) = house.config(&["apply", &file]);
    assert!(code == 1 && errors.contains("the watched folder declares it"), "{errors}");
    std::fs::rename(&conf, folder.path().join("gone")).unwrap();
    wait("a folder that is gone to be told", &|| ill().is_some());
    assert!(there("one") && there("three"), "it takes nothing with it");
}

#[test]
fn a_folder_that_is_swapped_whole_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf.d");
    std::fs::create_dir(&conf).unwrap();
    let version = |number: u8| {
        let data = conf.join(format!("..{number}"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("a.yaml"), format!("groups:\n  - group_name: v{number}\n")).unwrap();
        // As mounts of a cluster do: a link to the data is put in the old one's place, and all files are links through it.
        std::os::unix::fs::symlink(format!("..{number}"), conf.join("..data_tmp")).unwrap();
        std::fs::rename(conf.join("..data_tmp"), conf.join("..data")).unwrap();
    };
    version(1);
    std::os::unix::fs::symlink("..data/a.yaml", conf.join("a.yaml")).unwrap();
    let house = House::new(&[("GATEHOUSE_CONFIG_DIR", conf.to_str().unwrap())]);
    let there = |name: &str| house.call("GET", &format!("/group/{name}"), None).0 == 200;
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        eventually(what, || if is() { Ok(()) } else { anyhow::bail!("not yet") }).unwrap();
    };
    wait("the first version", &|| there("v1"));
    version(2);
    wait("the second version", &|| there("v2") && !there("v1"));
}
