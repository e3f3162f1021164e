//! Pairs of records for a person to review, as a page: side by side, differences marked, a key for yes and one for no.
//!
//! The page holds names. It is a private file of the borough: its script sends nothing anywhere, which its policy forbids,
//! and saves the decisions as the list that `decided` in `[residents]` names.

use std::fmt::Write as _;

use loda_linkage::Record;

use super::clerical_review::{HEADER, Pair};
use crate::ingest::html::escaped;

/// A pair with its records.
pub(crate) struct PairInFull {
    pub(crate) pair: Pair,
    pub(crate) one: Record,
    pub(crate) other: Record,
}

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem;color:#111;\
background:#fff}table{border-collapse:collapse;width:100%;margin:.5rem 0}th,td{text-align:left;padding:.3rem .6rem;\
border-bottom:1px solid #767676}mark{background:#fff3a3;color:#111;text-decoration:underline;text-decoration-thickness:.15em}\
button{font:inherit;padding:.4rem 1rem;margin:0 .5rem .5rem 0;border:2px solid #333;background:#fff;color:#111}\
button[aria-pressed=true]{background:#0b4a8f;color:#fff}article{border:2px solid #767676;padding:.5rem 1rem;margin:1rem 0}\
article:focus{outline:.25rem solid #0b4a8f}#bar{position:sticky;top:0;background:#fff;border-bottom:2px solid #111;\
padding:.5rem 0}@media print{button,#bar{display:none}}";

const SCRIPT: &str = r#"
const pairs=[...document.querySelectorAll('article')];
const said=document.getElementById('said');
let at=0;
function tell(){const n=pairs.filter(p=>p.dataset.same).length;said.textContent=n+' of '+pairs.length+' decided';}
function go(to){at=Math.max(0,Math.min(pairs.length-1,to));pairs[at].focus();}
function decide(pair,same){pair.dataset.same=pair.dataset.same===same?'':same;
 pair.querySelectorAll('button').forEach(b=>b.setAttribute('aria-pressed',String(b.value===pair.dataset.same)));tell();}
pairs.forEach((pair,i)=>{pair.addEventListener('focus',()=>{at=i;});
 pair.querySelectorAll('button').forEach(b=>b.addEventListener('click',()=>decide(pair,b.value)));});
document.addEventListener('keydown',e=>{if(e.ctrlKey||e.metaKey||e.altKey)return;
 const k=e.key.toLowerCase();
 if(k==='y'||k==='n'){decide(pairs[at],k==='y'?'yes':'no');if(pairs[at].dataset.same)go(at+1);}
 else if(k==='j'||k==='arrowdown'){e.preventDefault();go(at+1);}
 else if(k==='k'||k==='arrowup'){e.preventDefault();go(at-1);}});
function field(t){return /[",\r\n]/.test(t)?'"'+t.replaceAll('"','""')+'"':t;}
document.getElementById('save').addEventListener('click',()=>{
 const rows=[document.body.dataset.header.split(',')].concat(pairs.map(p=>JSON.parse(p.dataset.pair).concat([p.dataset.same||''])));
 const csv=rows.map(r=>r.map(field).join(',')).join('\n')+'\n';
 const a=document.createElement('a');a.href=URL.createObjectURL(new Blob([csv],{type:'text/csv'}));a.download='decided.csv';a.click();});
tell();
"#;

/// The page.
pub(crate) fn page(pairs: &[PairInFull]) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en-GB\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src \
         'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\"><title>Pairs of records for review</title><style>{STYLE}\
         </style></head><body data-header=\"{}\"><main><h1>One person or two?</h1><p>{} pairs of records may be of one person. \
         The page holds names: keep it where the services' records may be, and delete it afterwards. Nothing leaves this \
         computer. <kbd>y</kbd> says one person, <kbd>n</kbd> two, the arrows go on. Differences are underlined.</p>\
         <noscript><p>Without scripts, write yes or no into the list of <code>loda-node residents --review</code>.</p>\
         </noscript><div id=\"bar\"><button id=\"save\" type=\"button\">Save the decisions</button><span id=\"said\" \
         role=\"status\"></span></div>",
        HEADER.join(","),
        pairs.len()
    );
    pairs.iter().zip(1_usize..).for_each(|(pair, number)| out.push_str(&article(pair, number)));
    let _infallible = writeln!(out, "</main><script>{SCRIPT}</script></body></html>");
    out
}

fn article(pair: &PairInFull, number: usize) -> String {
    let Pair { one, other, bits } = &pair.pair;
    let row = serde_json::json!([one.0, one.1, other.0, other.1, format!("{bits:.1}")]);
    let mut rows = String::new();
    for (name, of) in FIELDS {
        let (a, b) = (of(&pair.one), of(&pair.other));
        if a.is_empty() && b.is_empty() {
            continue;
        }
        let differs = !a.is_empty() && !b.is_empty() && !a.trim().eq_ignore_ascii_case(b.trim());
        let shown = |text: &str| match (text.is_empty(), differs) {
            (true, _) => "–".to_owned(),
            (_, true) => format!("<mark>{}</mark>", escaped(text)),
            (_, false) => escaped(text),
        };
        let says = if differs { "different" } else { "" };
        let _infallible = write!(
            rows,
            "<tr><th scope=\"row\">{name}</th><td>{}</td><td>{}</td><td>{says}</td></tr>",
            shown(a),
            shown(b)
        );
    }
    format!(
        "<article tabindex=\"0\" aria-labelledby=\"p{number}\" data-pair=\"{}\"><h2 id=\"p{number}\">Pair {number}</h2><table>\
         <thead><tr><th scope=\"col\">Field</th><th scope=\"col\">{} {}</th><th scope=\"col\">{} {}</th><th scope=\"col\">\
         Compared</th></tr></thead><tbody>{rows}</tbody></table><button type=\"button\" value=\"yes\" aria-pressed=\"false\">One \
         person (y)</button><button type=\"button\" value=\"no\" aria-pressed=\"false\">Two (n)</button></article>",
        escaped(&row.to_string()),
        escaped(&one.0),
        escaped(&one.1),
        escaped(&other.0),
        escaped(&other.1),
    )
}

/// A field of a record.
type Field = fn(&Record) -> &str;

const FIELDS: [(&str, Field); 9] = [
    ("Given names", |r| &r.given),
    ("Surname", |r| &r.surname),
    ("Born", |r| &r.born),
    ("Number", |r| &r.number),
    ("Street", |r| &r.street),
    ("Town", |r| &r.town),
    ("Postcode", |r| &r.postcode),
    ("NHS number", |r| &r.nhs),
    ("National Insurance number", |r| &r.nino),
];
