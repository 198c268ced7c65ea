# Varnish passes everything here, but where the cache is measured: else it is measured as a proxy. It does X-Forwarded-For, Via and X-Varnish (a request id).
# It does not: limits per client, metrics per route. Its log is kept in shared memory whether or not anybody reads it.
vcl 4.1;

backend origin { .host = "{{.OriginHost}}"; .port = "{{.OriginPort}}"; .max_connections = 1000; }

sub vcl_recv {
	if (req.url == "/static") { return (synth(200)); }
	if (req.url == "/moved") { return (synth(308)); }
	if (req.http.Upgrade ~ "(?i)websocket") { return (pipe); }
	return ({{if .Has "cache"}}hash{{else}}pass{{end}});
}
{{- if .Has "cache"}}

sub vcl_backend_response { set beresp.ttl = 1h; }
{{- end}}

sub vcl_pipe {
	set bereq.http.Upgrade = req.http.Upgrade;
	set bereq.http.Connection = req.http.Connection;
}

sub vcl_synth {
	if (resp.status == 308) {
		set resp.http.Location = "https://shop.example" + req.url;
		return (deliver);
	}
	set resp.http.Content-Type = "application/json";
	synthetic({"{"ok":true}"});
	return (deliver);
}
