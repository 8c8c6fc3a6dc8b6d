{{- /* What is read in every namespace that is watched, and the statuses that are written there. */}}
{{- define "gatehouse.rules.watch" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies, gateways, grpcroutes, httproutes, listenersets, referencegrants, tcproutes, tlsroutes, udproutes]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [backendtlspolicies/status, gateways/status, grpcroutes/status, httproutes/status, listenersets/status, tcproutes/status, tlsroutes/status, udproutes/status]
  verbs: [update]
- apiGroups: [gateway.networking.x-k8s.io]
  resources: [xbackends, xbackendtrafficpolicies, xtelemetrypolicies]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.x-k8s.io]
  resources: [xbackends/status, xbackendtrafficpolicies/status, xtelemetrypolicies/status]
  verbs: [update]
# Those that XBackends select.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- include "gatehouse.rules.parameters" . }}
- apiGroups: [gateway.envoyproxy.io]
  resources: [clienttrafficpolicies]
  verbs: [get, list, watch]
- apiGroups: [gateway.envoyproxy.io]
  resources: [clienttrafficpolicies/status]
  verbs: [update]
{{- if .Values.backends.enabled }}
- apiGroups: [gateway.envoyproxy.io]
  resources: [backends]
  verbs: [get, list, watch]
- apiGroups: [gateway.envoyproxy.io]
  resources: [backends/status]
  verbs: [update]
{{- end }}
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- /* What GatewayClasses and Gateways refer to as their parameters. */}}
{{- define "gatehouse.rules.parameters" }}
- apiGroups: [gateway.envoyproxy.io]
  resources: [envoyproxies]
  verbs: [get, list, watch]
{{- end }}

{{- /* The objects of proxies, in the namespaces where they are made. */}}
{{- define "gatehouse.rules.proxies" -}}
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [daemonsets, deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Why a Service has no address.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}

{{- /* Secrets and ConfigMaps that users' objects name. */}}
{{- define "gatehouse.rules.referenced" -}}
- apiGroups: [""]
  resources: [configmaps, secrets]
  verbs: [get, list, watch]
{{- end }}

{{- /* What has no namespace. */}}
{{- define "gatehouse.rules.cluster" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gatewayclasses/status]
  verbs: [update]
- apiGroups: [certificates.k8s.io]
  resources: [clustertrustbundles]
  verbs: [get, list, watch]
# Which version of Gateway API is there.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
{{- end }}
