//! Tests of the whole: every kind of mistake names its place and what would be right.

use std::path::Path;

use super::settings::{ALL, Setting};
use super::takes::Takes;
use super::*;
use jsonwebtoken::Algorithm;

const FILE: &str = "grantbook.toml";

/// A directory with a configuration file in it.
struct Setup {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Setup {
    fn new(toml: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE);
        std::fs::write(&path, toml).expect("written");
        let sources = Sources { file: ConfigFile::Named(path), ..Sources::none() };
        Self { directory, sources }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flags(mut self, flags: ConfigFlags) -> Self {
        self.sources.flags = flags;
        self
    }

    fn load(&self) -> Config {
        Config::load(self.sources.clone()).expect("a configuration that stands")
    }

    /// What is wrong, with the directory left out of it.
    fn mistake(&self) -> String {
        let error = Config::load(self.sources.clone()).expect_err("must be refused").to_string();
        error.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

fn mistake(toml: &str) -> String {
    Setup::new(toml).mistake()
}

fn flags() -> ConfigFlags {
    ConfigFlags::default()
}

#[test]
fn the_defaults_serve_on_loopback_with_the_ledger_beside() {
    let config = Config::load(Sources::none()).expect("the defaults stand");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8700");
    assert_eq!(config.issuer.as_str(), "http://127.0.0.1:8700");
    assert_eq!(config.data_dir, Path::new("./grantbook-data"));
    assert!(matches!(config.sign_in, SignIn::NotConfigured));
    assert_eq!(config.session.lifetime, Duration::from_secs(3600));
    assert_eq!(config.session.key_file, None);
    assert_eq!(config.code_lifetime, Duration::from_secs(60));
    assert_eq!(config.max_live_tokens_per_user, 10);
    assert_eq!(config.rotation_overlap, Duration::from_secs(86_400));
    assert_eq!(config.scopes, ScopeCatalogue::default());
    assert_eq!((config.limits.body, config.limits.head), (65_536, 81_920));
    assert_eq!(config.limits.max_connections, 768);
    assert_eq!(config.limits.client_head_timeout, Duration::from_secs(5));
    assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Text, "info,actix_server=warn"));
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let toml = "listen = '127.0.0.1:1'\n[codes]\nlifetime = '1s'\n[session]\nlifetime = '2m'";
    let from_file = Setup::new(toml);
    assert_eq!(from_file.load().listen.port(), 1);
    let from_variable =
        from_file.variable("GRANTBOOK_LISTEN", "127.0.0.1:2").variable("GRANTBOOK_CODES_LIFETIME", "2s");
    assert_eq!(from_variable.load().listen.port(), 2);
    let from_flag = from_variable.flags(ConfigFlags { listen: Some("127.0.0.1:3".into()), ..flags() }).load();
    assert_eq!(from_flag.listen.port(), 3);
    assert_eq!(from_flag.code_lifetime, Duration::from_secs(2));
    assert_eq!(from_flag.session.lifetime, Duration::from_secs(120));
    assert_eq!(from_flag.max_live_tokens_per_user, 10);
}

#[test]
fn every_flag_reaches_its_key() {
    let given = ConfigFlags {
        config: None,
        listen: Some("127.0.0.1:1".into()),
        issuer: Some("https://auth.example.com".into()),
        data: Some("/srv/grantbook".into()),
        dev: true,
        strict: true,
        store: cfg!(feature = "eventstore").then(|| "esdb://node:2113?tls=false".into()),
        log_format: Some("json".into()),
    };
    let config = Setup::new("").flags(given).load();
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.issuer.as_str(), "https://auth.example.com");
    assert_eq!(config.data_dir, Path::new("/srv/grantbook"));
    assert!(matches!(config.sign_in, SignIn::Dev(_)));
    assert!(config.strict && !Setup::new("").load().strict);
    assert_eq!(config.store.is_some(), cfg!(feature = "eventstore"));
    assert!(Setup::new("").load().store.is_none());
    assert_eq!(config.log.format, LogFormat::Json);
}

#[cfg(feature = "eventstore")]
#[test]
fn the_password_of_a_cluster_is_never_shown() {
    let file = "[store]\nurl = 'esdb://admin:hunter2@node:2113?tls=false'\nmax_staleness = '10s'\n";
    let config = Setup::new(file).load();
    assert_eq!(config.max_staleness, Duration::from_secs(10));
    assert!(!config.refuse_when_stale);
    let shown = config.render();
    assert!(shown.contains("url = \"esdb://admin:…@node:2113?tls=false\""), "{shown}");
    for text in [shown, format!("{config:?}"), mistake("[store]\nurl = 'esdb://u:hunter2@node:x'\n")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(
        mistake("[store]\nurl = 'http://node'\n").split(';').next().unwrap(),
        "grantbook.toml:2:7: store.url is no connection string: its scheme is not one of EventStoreDB or KurrentDB"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_keys_there_are() {
    assert_eq!(
        mistake("[codes]\n  lifetme = '60s'\n"),
        "grantbook.toml:2:3: unknown key \"lifetme\": did you mean lifetime? [codes] takes lifetime"
    );
    assert_eq!(
        mistake("\n[sesion]\nlifetime = '1h'\n"),
        "grantbook.toml:2:2: unknown key \"sesion\": did you mean session? the top level takes listen, issuer, \
         data_dir, sign_in, session, codes, tokens, secrets, accounts, ledger, store, registration, outbound, limits, log, scopes"
    );
    assert_eq!(
        mistake("[sign_in]\nclient_secret = 'hunter2'\n"),
        "grantbook.toml:2:1: unknown key \"client_secret\": [sign_in] takes mode, login_url, issuer, algorithm, \
         key_file, max_age"
    );
    assert_eq!(
        mistake("[[scopes]]\nname = 'a'\ntitle = 'A'\nsentence = 'Do a.'\n"),
        "grantbook.toml:3:1: this scope has a mistake: unknown field `title`, expected one of `name`, `aliases`, `sentence`, \
         `default`; each takes a name, a sentence and, if need be, aliases (a list of strings, such as [\"brands\"]) and default \
         (true or false)"
    );
    assert!(
        mistake("'a\\u0007\u{85}' = 1").starts_with("grantbook.toml:1:1: unknown key \"a\\\\u0007\\u{85}\":")
    );
}

#[test]
fn a_bad_value_is_refused_with_its_place_and_what_would_be_right() {
    assert_eq!(
        mistake("# ä comment\n[session]\nlifetime =  '25h'\n"),
        "grantbook.toml:3:13: session.lifetime is \"25h\", which is more than 24h; it takes a duration from \"1m\" \
         to \"24h\""
    );
    assert_eq!(
        mistake("listen = 8700"),
        "grantbook.toml:1:10: listen is \"8700\", which is no IP address with a port; it takes an IP address and a \
         port, such as \"127.0.0.1:8700\" or \"[::1]:8700\""
    );
    assert_eq!(
        mistake("[tokens]\nmax_live_per_user = true"),
        "grantbook.toml:2:21: tokens.max_live_per_user is of the type boolean; it takes a whole number from 1 to 1000"
    );
    assert_eq!(mistake("log = 'json'"), "grantbook.toml:1:7: log is a section: write it as [log]");
    assert_eq!(
        mistake("[log]\nformat = 'xml'"),
        "grantbook.toml:2:10: log.format is \"xml\", which is not one of them; it takes one of text, json"
    );
    assert!(
        mistake("[log]\nfilter = 'a=b=c'").contains("which is no filter; it takes a level or directives")
    );
    assert!(mistake("[limits]\nbody = 0x400").contains("it takes a size from \"1KiB\" to \"16MiB\""));
    assert!(mistake("[limits]\nhead = '1MiB'").contains("which is more than 128KiB"));
    assert!(mistake("data_dir = ''").contains("data_dir is \"\", which is empty; it takes a directory"));
}

#[test]
fn what_is_not_toml_is_refused_with_its_place() {
    let unclosed = mistake("listen = '127.0.0.1:8700\n");
    assert!(unclosed.starts_with("grantbook.toml:1:"), "{unclosed}");
    assert!(unclosed.contains("this is not TOML: "), "{unclosed}");
    assert!(mistake("a = 1\na = 2").starts_with("grantbook.toml:2:1: this is not TOML: duplicate key"));
    assert!(!mistake("key = hunter2").contains("hunter2"), "no line of the file is repeated");
}

#[test]
fn every_key_refuses_a_bad_value_from_the_environment_by_the_name_of_the_variable() {
    for setting in &ALL {
        let variable = setting.variable();
        let refused = Setup::new("").variable(&variable, "\0").mistake();
        // Which keys are read depends on the mode only for the key file, and a zero byte is in no path.
        if setting.key == "sign_in.key_file" {
            assert!(refused.contains("set it to \"handoff\""), "{refused}");
        } else {
            assert!(refused.contains(&setting.takes.to_string()), "{refused}");
        }
        assert!(refused.starts_with(&format!("{variable}: {} is ", setting.key)), "{refused}");
        assert!(!refused.contains('\0'));
    }
}

#[test]
fn an_unknown_variable_is_refused_and_those_of_others_pass() {
    assert_eq!(
        Setup::new("").variable("GRANTBOOK_LISTN", "x").mistake(),
        "GRANTBOOK_LISTN: unknown variable: the nearest known one is GRANTBOOK_LISTEN"
    );
    assert_eq!(
        Setup::new("").variable("GRANTBOOK_SESSION_LIFE", "hunter2").mistake(),
        "GRANTBOOK_SESSION_LIFE: unknown variable: the nearest known one is GRANTBOOK_SESSION_LIFETIME"
    );
    assert!(Setup::new("").variable("GRANTBOOK_SCOPES", "x").mistake().contains("as [[scopes]] in the"));
    for passes in ["GRANTBOOK_KEY", "GRANTBOOK_SERVER", "GRANTBOOK_CONFIG", "GRANTBOOK_TEST_ANY", "PATH"] {
        Setup::new("").variable(passes, "anything").load();
    }
    Setup::new("").variable("GRANTBOOK_PORT", "tcp://10.0.0.1:8700").load();
    assert!(Setup::new("").variable("GRANTBOOK_PORT", "8700").mistake().contains("unknown variable"));
}

#[test]
fn an_empty_variable_is_not_set() {
    let config = Setup::new("listen = '127.0.0.1:1'").variable("GRANTBOOK_LISTEN", "").load();
    assert_eq!(config.listen.port(), 1);
    Setup::new("").variable("GRANTBOOK_SIGN_IN_LOGIN_URL", "").variable("GRANTBOOK_LISTN", "").load();
}

#[test]
fn every_mistake_is_found_at_once() {
    let toml = "listn = 'x'\n[codes]\nlifetime = '11m'\n[session]\nlifetime = 1.5\n[[scopes]]\nname = 'a'\n[[scopes]]\nname = 1\n";
    let all = Setup::new(toml)
        .variable("GRANTBOOK_LOG_FORMAT", "xml")
        .variable("GRANTBOOK_LISTN", "x")
        .flags(ConfigFlags { listen: Some("8700".into()), ..flags() })
        .mistake();
    let places: Vec<&str> = all.lines().filter_map(|line| line.split(": ").next()).collect();
    let expected = [
        "grantbook.toml:1:1",
        "grantbook.toml:3:12",
        "grantbook.toml:5:12",
        "grantbook.toml:6:1",
        "grantbook.toml:9:8",
        "GRANTBOOK_LISTN",
        "GRANTBOOK_LOG_FORMAT",
        "--listen",
    ];
    assert_eq!(places, expected, "{all}");
}

/// What is wrong is said once, and nothing is said that follows from it alone.
#[test]
fn a_mistake_leads_to_no_others() {
    for (toml, mistakes) in [
        ("listen = 'x'", 1),
        ("[sign_in]\nmode = 'handof'\nlogin_url = 'https://example.com'", 1),
        ("listen = '0.0.0.0:80'\n[sign_in]\nmode = 'dev'", 1),
        ("[sign_in]\nmode = 'handoff'", 4),
        ("[sign_in]\nmode = 'handoff'\nalgorithm = 'none'", 4),
        ("issuer = 'x'\nlisten = '0.0.0.0:80'", 1),
        ("a = 'unclosed\nlisten = '0.0.0.0:80'", 1),
    ] {
        let said = mistake(toml);
        assert_eq!(said.lines().count(), mistakes, "{toml}\n{said}");
    }
}

#[test]
fn a_named_file_must_be_there_and_the_default_one_need_not() {
    let named = |path: &str| Sources::new(vec![], ConfigFlags { config: Some(path.into()), ..flags() });
    let error = Config::load(named("/nonexistent/g.toml")).expect_err("refused").to_string();
    assert!(
        error.starts_with("/nonexistent/g.toml: the configuration file cannot be read: No such"),
        "{error}"
    );
    let of_variable = |path: &str| Sources::new(vec![("GRANTBOOK_CONFIG".into(), path.into())], flags());
    let said = |sources: Sources| Config::load(sources).expect_err("refused").to_string();
    let error = said(of_variable("/nonexistent/g.toml"));
    assert!(
        error.starts_with(
            "GRANTBOOK_CONFIG: the configuration file /nonexistent/g.toml cannot be read: No such"
        ),
        "{error}"
    );
    let empty = "it is empty: name the configuration file, or leave it out";
    assert_eq!(said(of_variable("")), format!("GRANTBOOK_CONFIG: {empty}"));
    assert_eq!(said(named("")), format!("--config: {empty}"));
    let absent = ConfigFile::IfPresent("/nonexistent/g.toml".into());
    assert!(Config::load(Sources { file: absent, ..Sources::none() }).is_ok());

    let environment = vec![("GRANTBOOK_CONFIG".to_owned(), "variable.toml".to_owned())];
    assert_eq!(Sources::new(vec![], flags()).file, ConfigFile::IfPresent("grantbook.toml".into()));
    assert_eq!(
        Sources::new(environment.clone(), flags()).file,
        ConfigFile::NamedByVariable("variable.toml".into())
    );
    let flag = ConfigFlags { config: Some("flag.toml".into()), ..flags() };
    assert_eq!(Sources::new(environment, flag).file, ConfigFile::Named("flag.toml".into()));
}

#[test]
fn a_server_that_others_can_reach_must_be_told_its_issuer() {
    assert_eq!(
        Setup::new("").flags(ConfigFlags { listen: Some("0.0.0.0:80".into()), ..flags() }).mistake(),
        "--listen: listen is 0.0.0.0:80, which is not loopback, so issuer must be set to an https URL without \
         query, fragment, user name or trailing slash, such as \"https://auth.example.com\" (http on a loopback \
         host only)"
    );
    let told = "listen = '0.0.0.0:80'\nissuer = 'https://auth.example.com'";
    assert!(Setup::new(told).load().issuer.is_https());
}

#[test]
fn dev_is_refused_unless_bound_to_loopback() {
    let open = Setup::new("listen = '0.0.0.0:80'\nissuer = 'https://auth.example.com'")
        .flags(ConfigFlags { dev: true, ..flags() });
    assert_eq!(
        open.mistake(),
        "--dev: sign_in.mode \"dev\" lets anyone sign in as anyone, so listen must be a loopback address, such as \
         \"127.0.0.1:8700\", not 0.0.0.0:80"
    );
    let in_file = mistake("listen = '[::]:80'\nissuer = 'https://auth.example.com'\n[sign_in]\nmode = 'dev'");
    assert!(in_file.starts_with("grantbook.toml:4:8: sign_in.mode \"dev\" lets anyone"), "{in_file}");
    let ipv6 = Setup::new("listen = '[::1]:80'\n[sign_in]\nmode = 'dev'").load();
    assert!(matches!(ipv6.sign_in, SignIn::Dev(_)));
}

const HANDOFF: &str = "[sign_in]
mode = 'handoff'
login_url = 'https://example.com/sign-in?for=grantbook'
issuer = 'https://example.com'
algorithm = 'HS256'
key_file = 'KEY'
max_age = '30s'
";
const SECRET: &str = "correct horse battery staple, twice over";

/// A handoff whose secret is in a file beside the configuration.
fn handoff(change: impl Fn(&str) -> String) -> Setup {
    let setup = Setup::new("");
    let key = setup.directory.path().join("secret");
    std::fs::write(&key, SECRET).expect("written");
    let toml = change(HANDOFF).replace("KEY", &key.display().to_string());
    std::fs::write(setup.directory.path().join(FILE), toml).expect("written");
    setup
}

#[test]
fn a_handoff_is_whole_or_refused() {
    let SignIn::Handoff(whole) = handoff(str::to_owned).load().sign_in else { panic!("not a handoff") };
    assert_eq!(whole.login_url.as_str(), "https://example.com/sign-in?for=grantbook");
    assert_eq!(whole.issuer, "https://example.com");
    assert_eq!(whole.key.algorithm(), Algorithm::HS256);
    assert_eq!(whole.max_age, Duration::from_secs(30));

    for key in ["login_url", "issuer", "algorithm", "key_file"] {
        let without =
            |toml: &str| toml.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
        let refused = handoff(without).mistake();
        let needed = format!(
            "grantbook.toml:2:8: sign_in.mode \"handoff\" needs sign_in.{key} (or GRANTBOOK_SIGN_IN_"
        );
        assert!(refused.starts_with(&needed), "{refused}");
    }
    assert!(
        handoff(|toml| toml.replace("HS256", "none"))
            .mistake()
            .contains("it takes one of HS256, EdDSA, ES256, RS256")
    );
    assert!(handoff(|toml| toml.replace("30s", "11m")).mistake().contains("which is more than 10m"));
    assert!(
        handoff(|toml| toml.replace("https://example.com'", "two words'"))
            .mistake()
            .contains("the iss claim")
    );
    let switched_off = handoff(|toml| toml.replace("mode = 'handoff'", "")).mistake();
    assert!(switched_off.contains("sign_in.login_url is set but sign_in.mode is not: set it to \"handoff\""));
    let in_dev = handoff(str::to_owned).flags(ConfigFlags { dev: true, ..flags() });
    assert!(matches!(in_dev.load().sign_in, SignIn::Dev(_)));
}

#[test]
fn a_key_that_does_not_fit_is_refused_without_repeating_what_was_written() {
    assert_eq!(
        handoff(|toml| toml.replace("HS256", "EdDSA")).mistake(),
        "grantbook.toml:6:12: sign_in.key_file names a file that does not fit: the key for EdDSA must be an Ed25519 public key, \
         as PEM that begins with -----BEGIN PUBLIC KEY-----; it takes a file with the platform's public key in PEM \
         (EdDSA, ES256, RS256) or the shared secret (HS256), such as \"./sign-in.pem\""
    );
    let inline = handoff(|toml| toml.replace("KEY", SECRET)).mistake();
    assert!(inline.contains("cannot be read (No such file"), "{inline}");
    assert!(!inline.contains(SECRET), "{inline}");
    let password = Setup::new("").variable("GRANTBOOK_ISSUER", "https://me:hunter2@example.com").mistake();
    assert!(
        password.contains("has a user name or a password in it") && !password.contains("hunter2"),
        "{password}"
    );
}

#[test]
fn requests_that_leave_the_server_go_where_the_operator_allows() {
    assert!(!Setup::new("").load().outbound.loopback);
    assert!(Setup::new("").flags(ConfigFlags { dev: true, ..flags() }).load().outbound.loopback);
    assert!(mistake("[outbound]\nallow = '*'").contains("which has the entry \"*\", which is no host name"));
    let pem = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let setup = Setup::new("");
    let file = |name: &str, text: &str| {
        let path = setup.directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        format!("[outbound]\nallow = 'idp.internal'\nca_file = '{}'", path.display())
    };
    let read = Setup::new(&file("ca.pem", &pem)).load().outbound;
    assert_eq!(read.allowed, crate::outbound::Allowed::parse("idp.internal").unwrap());
    assert_eq!(read.authorities.len(), 1);
    let wrong = mistake(&file("text.pem", "no PEM"));
    assert!(
        wrong.contains("grantbook.toml:3:11: outbound.ca_file names a file that cannot be used (holds no"),
        "{wrong}"
    );
    assert_eq!(mistake("[outbound]\nca_file = '/nonexistent/ca.pem'").lines().count(), 1);
}

#[test]
fn scopes_replace_the_default_catalogue_and_are_checked() {
    let two = "[[scopes]]\nname = 'read'\naliases = ['r']\nsentence = 'Read it.'\n[[scopes]]\nname = 'r2'\nsentence = 'Do.'\n";
    let catalogue = Setup::new(two).load().scopes;
    assert_eq!(catalogue.names().collect::<Vec<_>>(), ["read", "r2"]);
    assert_eq!(catalogue.resolve("r2 r"), Ok(vec!["read".to_owned(), "r2".to_owned()]));
    assert_eq!(
        mistake(&two.replace("r2", "r")),
        "grantbook.toml:5:1: 'r' is already the name or an alias of a scope: each may stand once"
    );
    let takes = "each takes a name, a sentence and, if need be, aliases (a list of strings, such as [\"brands\"]) and default (true or false)";
    let has = |toml: &str, mistake_at: &str| {
        assert_eq!(mistake(toml), format!("grantbook.toml:{mistake_at}; {takes}"));
    };
    has("[[scopes]]\nname = 'a'", "1:1: this scope has a mistake: missing field `sentence`");
    has(
        "[[scopes]]\nname = 1",
        "2:8: this scope has a mistake: invalid type: integer `1`, expected a string",
    );
    has(
        "[[scopes]]\naliases = 'x'",
        "2:11: this scope has a mistake: invalid type: string \"x\", expected a sequence",
    );
    has(
        "[[scopes]]\ndefault = 1",
        "2:11: this scope has a mistake: invalid type: integer `1`, expected a boolean",
    );
    assert!(mistake("[[scopes]]\nname = 'a b'\nsentence = 'x'").contains("'a?b' cannot name a scope"));
    assert!(
        mistake("[[scopes]]\nname = 'a'\nsentence = ''")
            .contains("grantbook.toml:1:1: the sentence must say")
    );
    let default = two.replace("sentence = 'Do.'", "sentence = 'Do.'\ndefault = true");
    assert_eq!(Setup::new(&default).load().scopes.defaults().collect::<Vec<_>>(), ["r2"]);
    assert!(mistake("[[scopes]]\n\"a\\u001b\\n\" = 1").contains("unknown field `a??`, expected"));
    assert!(
        mistake("[[scopes]]\nsentense = 'x'")
            .contains(":2:1: this scope has a mistake: unknown field `sentense`, expected")
    );
    assert!(mistake("scopes = ['a']").contains("begin each with the line [[scopes]]"));
    assert!(mistake("[scopes]").contains("begin each with the line [[scopes]]"));
    assert!(mistake("scopes = []").contains("needs at least one scope"));
}

#[test]
fn port_zero_becomes_the_bound_port_and_a_derived_issuer_follows() {
    let zero = Setup::new("").flags(ConfigFlags { listen: Some("127.0.0.1:0".into()), ..flags() });
    let bound = "127.0.0.1:4567".parse().expect("an address");
    let config = zero.load().bound_to(bound);
    assert_eq!((config.listen, config.issuer.as_str()), (bound, "http://127.0.0.1:4567"));
    assert!(config.render().contains("issuer = \"http://127.0.0.1:4567\" # default"));
    let told = Setup::new("issuer = 'https://auth.example.com'").load().bound_to(bound);
    assert_eq!(told.issuer.as_str(), "https://auth.example.com");
}

#[test]
fn what_is_rendered_names_each_source_and_reads_back_as_the_same() {
    let toml = "data_dir = 'a\\b\"c'\n[tokens]\nmax_live_per_user = 7\n[[scopes]]\nname = 'x'\nsentence = \"Do 'x'.\"";
    let setup = Setup::new(toml)
        .variable("GRANTBOOK_CODES_LIFETIME", "90s")
        .flags(ConfigFlags { dev: true, ..flags() });
    let rendered = setup.load().render();
    let path = setup.directory.path().join(FILE).display().to_string();
    for line in [
        "listen = \"127.0.0.1:8700\" # default".to_owned(),
        format!("data_dir = 'a\\b\"c' # {path}:1"),
        "mode = \"dev\" # --dev".to_owned(),
        "# key_file is not set".to_owned(),
        "lifetime = \"90s\" # GRANTBOOK_CODES_LIFETIME".to_owned(),
        format!("max_live_per_user = 7 # {path}:3"),
        format!("[[scopes]] # {path}:4"),
    ] {
        assert!(rendered.lines().any(|found| found == line), "{line}\n{rendered}");
    }
    let again = Setup::new(&rendered).load();
    let bare = |text: &str| {
        let lines = text.lines().map(|line| line.split(" # ").next().unwrap_or_default().to_owned());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(bare(&again.render()), bare(&rendered));
}

#[test]
fn no_secret_is_in_debug_or_in_what_is_rendered() {
    let config = handoff(str::to_owned).load();
    for shown in [format!("{config:?}"), format!("{config:#?}"), config.render()] {
        assert!(shown.contains("handoff"), "the rest is there");
        assert!(!shown.contains(SECRET) && !shown.contains("99, 111, 114, 114"), "{shown}");
    }
}

/// `docs/configuration.md` has one row per key, and each says what the code says.
#[test]
fn the_table_of_the_documentation_is_the_table_of_the_code() {
    let document = include_str!("../../docs/configuration.md");
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = ALL.iter().map(row).collect();
    assert_eq!(rows, expected, "write the table as:\n{}", expected.join("\n"));
}

#[test]
fn the_examples_of_the_documentation_stand() {
    let document = include_str!("../../docs/configuration.md");
    let examples: Vec<&str> =
        document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [handoff, scopes] = examples[..] else { panic!("two examples") };
    let refused = mistake(handoff);
    assert!(
        refused.contains("sign_in.key_file names a file that cannot be read"),
        "all but the file: {refused}"
    );
    assert_eq!(Setup::new(scopes).load().scopes.resolve("order"), Ok(vec!["orders".to_owned()]));
    for message in [
        mistake("# the session\n[session]\nlifetime = '25h'"),
        Setup::new("").variable("GRANTBOOK_LISTN", "x").mistake(),
    ] {
        assert!(document.contains(&format!("    {message}\n")), "{message}");
    }
}

fn row(setting: &Setting) -> String {
    let code = |text: &str| format!("`{text}`");
    let flag = setting.flag.map_or_else(|| "–".to_owned(), code);
    let default = setting.default.map_or_else(|| "–".to_owned(), code);
    let takes = match setting.takes {
        Takes::Word(words) => words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", "),
        other => other.to_string().replace('"', "`"),
    };
    format!("| `{}` | `{}` | {flag} | {default} | {takes} |", setting.key, setting.variable())
}

#[cfg(not(feature = "eventstore"))]
#[test]
fn a_cluster_needs_a_build_with_the_feature_eventstore() {
    let said = mistake("[store]\nurl = 'esdb://u:hunter2@node:2113?tls=false'\n");
    assert!(said.starts_with("grantbook.toml:2:7: store.url is not supported"), "{said}");
    assert!(said.contains("cargo feature `eventstore`") && !said.contains("hunter2"), "{said}");
}
