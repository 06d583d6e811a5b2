{{/* The container's variables; all settings but AWS's are in docs/configuration.md. */}}
{{- define "polyhost.env" -}}
{{- $values := .root.Values -}}
- name: POLYHOST_MODEL_STORE
  value: {{ include "polyhost.store" .root | quote }}
- name: POLYHOST_STORE_CHECK_SECONDS
  value: {{ int $values.store.checkSeconds | quote }}
{{- with $values.store.loadAtStart }}
- name: POLYHOST_LOAD_AT_START
  value: {{ join " " . | quote }}
{{- end }}
{{- with $values.store.pinned }}
- name: POLYHOST_PINNED
  value: {{ join " " . | quote }}
{{- end }}
{{- $quarter := div (include "polyhost.megabytes" $values.disk.size | int64) 4 | max 1 }}
{{- $installs := ne (get $values.settings "POLYHOST_REQUIREMENTS" | default "off") "off" }}
# Three quarters of the disk, with packages two and one: what is being fetched lies beside what is unpacked.
- name: POLYHOST_UNPACK_MB
  value: {{ mul $quarter (ternary 2 3 $installs) | quote }}
{{- if and $installs (not (hasKey $values.settings "POLYHOST_LAYERS_MB")) }}
- name: POLYHOST_LAYERS_MB
  value: {{ $quarter | quote }}
{{- end }}
# A model that fills its temporary folder is ended, before the kubelet evicts the whole pod.
- name: POLYHOST_WORKER_TEMP_MB
  value: {{ div (include "polyhost.megabytes" $values.temporary.size | int64) 2 | max 1 | quote }}
- name: POLYHOST_FRONTEND
  value: {{ $values.frontend }}
- name: SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS
  value: {{ int $values.timeoutSeconds | quote }}
- name: POLYHOST_DRAIN_SECONDS
  value: {{ int $values.end.drainSeconds | quote }}
- name: POLYHOST_FINISH_SECONDS
  value: {{ int $values.end.finishSeconds | quote }}
# Of the container's cores, not of the machine's.
- name: POLYHOST_MAX_WORKERS
  valueFrom:
    resourceFieldRef:
      containerName: polyhost
      resource: {{ .cores }}
{{- if eq $values.frontend "mms" }}
- name: MMS_NETTY_CLIENT_THREADS
  valueFrom:
    resourceFieldRef:
      containerName: polyhost
      resource: {{ .cores }}
{{- end }}
{{- with $values.withhold }}
- name: POLYHOST_WITHHOLD
  value: {{ join " " . | quote }}
{{- end }}
{{- with $values.bearerToken }}
{{- if .secret }}
- name: POLYHOST_BEARER_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- with $values.store.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with $values.store.endpointUrl }}
- name: AWS_ENDPOINT_URL_S3
  value: {{ . | quote }}
{{- end }}
{{- range $name, $value := $values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $values.env }}
{{- if regexMatch "^(POLYHOST|SAGEMAKER|MMS)_" .name }}
{{- fail (printf "env names %s, a setting of the container: put it into settings, or use the value that sets it" .name) }}
{{- end }}
{{- end }}
{{- with $values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
