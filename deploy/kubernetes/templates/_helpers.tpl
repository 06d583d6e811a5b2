{{- define "polyhost.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{ $full | trunc 53 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "polyhost.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "polyhost.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "polyhost.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "polyhost.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "polyhost.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "polyhost.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The address of the store. */}}
{{- define "polyhost.store" -}}
{{- if and .Values.store.url .Values.store.volume -}}
{{- fail (printf "store.url is %q and store.volume is given as well: give one of them" .Values.store.url) -}}
{{- else if .Values.store.volume -}}
/opt/ml/models
{{- else -}}
{{ required "store.url and store.volume are empty: say where the models are, such as store.url=s3://BUCKET/PREFIX/" .Values.store.url }}
{{- end -}}
{{- end }}

{{/* Of a quantity such as 20Gi. */}}
{{- define "polyhost.megabytes" -}}
{{- $unit := dict "Mi" 1 "Gi" 1024 "Ti" 1048576 -}}
{{ mul (regexFind "^[0-9]+" . | int64) (get $unit (regexFind "[A-Z]i$" .)) }}
{{- end }}

{{/* With what the scheduler has to know: memory is not to be promised twice, nor the node's disk. */}}
{{- define "polyhost.resources" -}}
{{- $requests := deepCopy .Values.resources.requests -}}
{{- if not (hasKey $requests "memory") -}}
{{- $requests = set $requests "memory" .Values.resources.limits.memory -}}
{{- end -}}
{{- if not (or .Values.disk.storageClass (hasKey $requests "ephemeral-storage")) -}}
{{- $requests = set $requests "ephemeral-storage" .Values.disk.size -}}
{{- end -}}
{{ dict "requests" $requests "limits" .Values.resources.limits | toYaml }}
{{- end }}
