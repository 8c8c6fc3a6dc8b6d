//! `gatehouse translate`.

use std::process::ExitCode;

use gatehouse_model::ResourceType;
use gatehouse_translate::{Outputs, Resource};
use serde_json::{Value, json};

use crate::cli::{Format, TranslateArgs, TypeFilter};
use crate::load::Offline;
use crate::{EXIT_FINDINGS, print};

/// Prints the Envoy configuration of files, by fleet.
pub(crate) async fn translate(args: TranslateArgs) -> anyhow::Result<ExitCode> {
    let offline = Offline::load(&args.source).await?;
    let problems = offline.problems();
    for problem in &problems {
        print::error_line(problem);
    }
    let json = fleets(&offline.outputs, &args.types)?;
    print::value(&json, args.output == Format::Json)?;
    let failed = problems.iter().any(|problem| problem.diagnostic.is_error());
    Ok(if failed { ExitCode::from(EXIT_FINDINGS) } else { ExitCode::SUCCESS })
}

fn fleets(outputs: &Outputs, types: &[TypeFilter]) -> anyhow::Result<Value> {
    let mut fleets = Vec::new();
    for (fleet, change) in &outputs.fleets {
        let mut resources: Vec<&Resource> = change
            .upserts
            .iter()
            .filter(|r| types.is_empty() || types.contains(&filter_of(r.kind)))
            .collect();
        resources.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let resources: Result<Vec<_>, _> = resources.into_iter().map(readable).collect();
        fleets.push(json!({ "gateway": fleet.to_string(), "resources": resources? }));
    }
    Ok(json!({ "fleets": fleets }))
}

fn readable(resource: &Resource) -> anyhow::Result<Value> {
    let type_url = resource.kind.type_url();
    let body = gatehouse_envoy::json::decode(type_url, &resource.body)?;
    let mut json = json!({ "@type": type_url });
    if let (Value::Object(out), Value::Object(fields)) = (&mut json, body) {
        out.extend(fields);
    }
    Ok(json!({ "name": resource.name, "version": resource.version, "resource": json }))
}

fn filter_of(kind: ResourceType) -> TypeFilter {
    match kind {
        ResourceType::Cluster => TypeFilter::Cluster,
        ResourceType::Endpoint => TypeFilter::Endpoint,
        ResourceType::Secret => TypeFilter::Secret,
        ResourceType::Listener => TypeFilter::Listener,
        ResourceType::RouteConfiguration | ResourceType::VirtualHost => TypeFilter::Route,
    }
}
