//! What is deployed from `docs/deploy`: the environment and the commands of the container image, without a container.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{Serving, eventually};
use crate::site::Site;

/// The values of an instruction of the Dockerfile's last stage.
fn instructions(name: &str) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy/Dockerfile");
    let text = std::fs::read_to_string(file).unwrap();
    let last = text.split("\nFROM ").last().unwrap();
    let found = last.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.map(str::to_owned).collect()
}

/// The arguments of a command that the image runs.
fn arguments(instruction: &str) -> Vec<String> {
    let (_, list) = instruction.split_once('[').unwrap();
    let list: Vec<String> = serde_json::from_str(&format!("[{list}")).unwrap();
    assert_eq!(list[0], "grantbook");
    list[1..].to_vec()
}

/// A command of the image, with its environment, and an issuer as `docker run -e` gives it.
fn in_the_image(instruction: &str, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grantbook"));
    command.env_clear().args(arguments(instruction)).current_dir(data.parent().unwrap());
    for set in instructions("ENV") {
        let (name, value) = set.split_once('=').unwrap();
        // The directory is the image's, and so is the port; the address is what matters.
        let value = match name {
            "GRANTBOOK_DATA_DIR" => data.to_str().unwrap().to_owned(),
            "GRANTBOOK_LISTEN" => value.replace(":8700", ":0"),
            _ => value.to_owned(),
        };
        command.env(name, value);
    }
    command.env("GRANTBOOK_ISSUER", "https://auth.example.com").stdin(Stdio::null());
    command
}

#[test]
fn the_image_serves_to_others_and_its_health_check_tells_whether_it_does() {
    let site = Site::new();
    let (data, volumes) = (instructions("ENV"), instructions("VOLUME"));
    assert!(data.contains(&format!("GRANTBOOK_DATA_DIR={}", volumes[0])), "{data:?} {volumes:?}");
    assert_eq!(instructions("EXPOSE"), ["8700"]);
    let check = &instructions("HEALTHCHECK")[0];

    let healthy = || in_the_image(check, site.data()).output().unwrap();
    let before = healthy();
    assert_eq!(before.status.code(), Some(1), "{before:?}");
    assert!(String::from_utf8_lossy(&before.stderr).contains("cannot be reached"), "{before:?}");

    let mut serving = Serving::spawn(in_the_image(&instructions("CMD")[0], site.data()));
    let (url, key) = eventually("the server says where it is", || {
        serving.assert_runs();
        site.control_of(serving.pid())
    });
    serving.until_ready(&url, key);
    assert_eq!(String::from_utf8_lossy(&healthy().stdout), "ready\n");
    // By every address of the machine, which others have too.
    #[cfg(target_os = "linux")]
    {
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        let listens = format!("00000000:{port:04X} 00000000:0000 0A");
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        assert!(sockets.contains(&listens), "{sockets}");
    }
    serving.stop();
    assert_eq!(healthy().status.code(), Some(1));
}

#[test]
fn without_an_issuer_the_image_says_what_is_missing() {
    let site = Site::new();
    let mut command = in_the_image(&instructions("CMD")[0], site.data());
    command.env_remove("GRANTBOOK_ISSUER");
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("issuer must be set"), "{ended:?}");
}
