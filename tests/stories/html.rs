//! Forms, found in pages as a browser finds them: nothing about a form is guessed.

/// A form of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtmlForm {
    pub method: String,
    pub action: String,
    /// Its hidden fields, which a browser sends back as they are.
    pub hidden: Vec<(String, String)>,
    /// What its buttons say.
    pub buttons: Vec<(String, String)>,
}

impl HtmlForm {
    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> &str {
        let found = self.hidden.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("no field {name} in {self:?}"), |(_, value)| value)
    }
}

/// The forms of a page, in order.
pub fn forms(page: &str) -> Vec<HtmlForm> {
    let mut forms: Vec<HtmlForm> = Vec::new();
    let mut is_open = false;
    for tag in page.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let named = || Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()));
        if tag.starts_with("form ") {
            let method = attribute(tag, "method").unwrap_or_default();
            let action = attribute(tag, "action").unwrap_or_default();
            forms.push(HtmlForm { method, action, hidden: Vec::new(), buttons: Vec::new() });
            is_open = true;
        } else if tag == "/form" {
            is_open = false;
        } else if let Some(form) = forms.last_mut().filter(|_| is_open) {
            if tag.starts_with("input ") && attribute(tag, "type").as_deref() == Some("hidden") {
                form.hidden.extend(named());
            } else if tag.starts_with("button ") {
                form.buttons.extend(named());
            }
        }
    }
    forms
}

/// What a person reads: the page without its tags.
pub fn text(page: &str) -> String {
    let without_tags: String =
        page.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text).collect();
    unescape(&without_tags)
}

/// The links of a page, in order: where they lead, and what they say.
pub fn links(page: &str) -> Vec<(String, String)> {
    let links = page.split("<a ").skip(1).filter_map(|rest| rest.split_once('>'));
    let link = |(tag, rest): (&str, &str)| {
        Some((attribute(&format!("a {tag}"), "href")?, text(&format!("<a>{}", rest.split("</a>").next()?))))
    };
    links.filter_map(link).collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next().map(unescape)
}

fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (entity, character) in [
        ("&lt;", "<"),
        ("&#60;", "<"),
        ("&gt;", ">"),
        ("&#62;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
    ] {
        plain = plain.replace(entity, character);
    }
    plain.replace("&#38;", "&").replace("&amp;", "&")
}
