{{- define "gatehouse.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- /* At most 52 characters, so that suffixes fit into the 63 of a label. */}}
{{- define "gatehouse.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := include "gatehouse.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The name of a cluster-scoped object: two releases in two namespaces must not share it. */}}
{{- define "gatehouse.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "gatehouse.fullname" .) }}
{{- end }}

{{- define "gatehouse.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gatehouse.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "gatehouse.labels" -}}
{{ include "gatehouse.selectorLabels" . }}
app.kubernetes.io/part-of: gatehouse
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "gatehouse.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "gatehouse.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* A reference to an image from {registry, repository, tag, digest}; the tag defaults to the second argument. */}}
{{- define "gatehouse.image" -}}
{{- $image := index . 0 }}
{{- $tag := default (index . 1) $image.tag }}
{{- $name := ternary (printf "%s/%s" $image.registry $image.repository) $image.repository (ne $image.registry "") }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name $tag }}
{{- end }}
{{- end }}

{{- /* The names of a list of {name}, as JSON. */}}
{{- define "gatehouse.names" -}}
{{- $names := list }}
{{- range . }}
{{- $names = append $names .name }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{- define "gatehouse.config" -}}
controllerNames: {{ toJson .Values.controllerNames }}
watch:
  namespaces: {{ toJson .Values.watch.namespaces }}
  selector: {{ toJson .Values.watch.selector }}
secrets:
  namespaces: {{ toJson .Values.secrets.namespaces }}
placement: {{ .Values.placement }}
proxy:
  image: {{ include "gatehouse.image" (list .Values.proxy.image "") | quote }}
agent:
  image: {{ include "gatehouse.image" (list .Values.image .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
imagePullSecrets: {{ include "gatehouse.names" .Values.proxy.imagePullSecrets }}
backends:
  enabled: {{ .Values.backends.enabled }}
  externalNames: {{ .Values.backends.externalNames }}
xds:
  service: {{ include "gatehouse.fullname" . }}-xds
  port: {{ .Values.xds.port }}
admin:
  port: {{ .Values.admin.port }}
leaderElection:
  lease: {{ include "gatehouse.fullname" . }}
  leaseDuration: {{ .Values.leaderElection.leaseDuration }}
  renewDeadline: {{ .Values.leaderElection.renewDeadline }}
  retryPeriod: {{ .Values.leaderElection.retryPeriod }}
certificateAuthority:
  secret: {{ include "gatehouse.fullname" . }}-ca
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
{{- end }}
