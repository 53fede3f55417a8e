//! The files that say who and where an isolated task is.

use std::fmt::Write as _;

use swarmkit_api::wire::container_spec::DnsConfig;
use swarmkit_executor::Cause;

/// The table of hosts: the machine's, then its own lines, then its name.
///
/// Lines are `<address> <name> [<name>…]`, as upstream writes them; one that is not is refused.
pub(super) fn hosts(machine: &str, lines: &[String], hostname: Option<&str>) -> Result<String, Cause> {
    let mut text = with_end(machine);
    for line in lines {
        let mut words = line.split_whitespace();
        let address = words.next().and_then(|word| word.parse::<std::net::IpAddr>().ok());
        if address.is_none() || words.next().is_none() || line.contains(['\n', '#']) {
            return Err(format!("host {line:?} is not an address and a name").into());
        }
        let _ = writeln!(text, "{line}");
    }
    if let Some(hostname) = hostname {
        let _ = writeln!(text, "127.0.1.1 {hostname}");
    }
    Ok(text)
}

/// How names are resolved: what is said replaces what the machine has, kind by kind.
pub(super) fn resolver(machine: &str, dns: &DnsConfig) -> Result<String, Cause> {
    let words = dns.nameservers.iter().chain(&dns.search).chain(&dns.options);
    if let Some(odd) = words.clone().find(|word| word.is_empty() || word.contains(char::is_whitespace)) {
        return Err(format!("DNS configuration: {odd:?} is not one word").into());
    }
    if let Some(odd) = dns.nameservers.iter().find(|address| address.parse::<std::net::IpAddr>().is_err()) {
        return Err(format!("DNS configuration: {odd:?} is no address").into());
    }
    let kept = machine.lines().filter(|line| match line.split_whitespace().next() {
        Some("nameserver") => dns.nameservers.is_empty(),
        Some("search" | "domain") => dns.search.is_empty(),
        Some("options") => dns.options.is_empty(),
        _ => true,
    });
    let mut text = kept.fold(String::new(), |text, line| text + line + "\n");
    for address in &dns.nameservers {
        let _ = writeln!(text, "nameserver {address}");
    }
    for (key, words) in [("search", &dns.search), ("options", &dns.options)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{key} {}", words.join(" "));
        }
    }
    Ok(text)
}

fn with_end(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_added_to_those_of_the_machine() {
        let lines = ["10.0.0.1 db db.example".to_owned(), "::1 six".to_owned()];
        let text = hosts("127.0.0.1 localhost", &lines, Some("web-1")).unwrap();
        assert_eq!(text, "127.0.0.1 localhost\n10.0.0.1 db db.example\n::1 six\n127.0.1.1 web-1\n");
        for odd in ["db 10.0.0.1", "10.0.0.1", "", "10.0.0.1 a\n10.0.0.2 b"] {
            assert!(hosts("", &[odd.to_owned()], None).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn what_is_said_of_names_replaces_what_the_machine_has_kind_by_kind() {
        let machine = "# here\nnameserver 10.0.0.1\nsearch a.example\noptions ndots:1\n";
        let dns = DnsConfig { nameservers: vec!["1.1.1.1".into(), "::1".into()], ..Default::default() };
        let text = resolver(machine, &dns).unwrap();
        assert_eq!(text, "# here\nsearch a.example\noptions ndots:1\nnameserver 1.1.1.1\nnameserver ::1\n");
        let dns =
            DnsConfig { search: vec!["b".into(), "c".into()], options: vec!["rotate".into()], ..Default::default() };
        assert_eq!(resolver(machine, &dns).unwrap(), "# here\nnameserver 10.0.0.1\nsearch b c\noptions rotate\n");
        assert!(resolver("", &DnsConfig { nameservers: vec!["dns".into()], ..Default::default() }).is_err());
        assert!(resolver("", &DnsConfig { search: vec!["a b".into()], ..Default::default() }).is_err());
    }
}
