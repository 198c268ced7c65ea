package config

import "fmt"

// OAuthClient is who the gateway is to a provider of OAuth 2, in the policies that ask one.
type OAuthClient struct {
	ClientID     Text     `cfg:"client_id" required:"true" doc:"the name that the issuer knows the gateway by"`
	ClientSecret Secret   `cfg:"client_secret" doc:"the secret that the issuer has given to the gateway"`
	ClientKey    Secret   `cfg:"client_key" doc:"a private key in PEM, in the place of a secret (private_key_jwt): ${file:...}"`
	ClientAuth   string   `cfg:"client_auth" default:"auto" enum:"auto,client_secret_basic,client_secret_post,private_key_jwt,none" doc:"how the gateway says who it is; auto takes what the issuer takes"`
	CA           *Content `cfg:"ca" doc:"file of PEM certificates to trust as the issuer's server, instead of the system's"`
}

// asked wants that it is known where the issuer is asked: at the URL of a key, or where discovery finds.
func (v *validator) asked(issuer Text, at *Text, key, path string) {
	switch {
	case at != nil:
		v.issuerURL(at.Text, at.Pos, joinPath(path, key))
	case issuer.Text == "":
		v.fail(path, "says not who is asked", "issuer: ..., from which it is found, or "+key+": ...")
	default:
		v.issuerURL(issuer.Text, issuer.Pos, path+".issuer")
	}
}

// oauthClient wants that the gateway has what it says who it is with.
func (v *validator) oauthClient(c *OAuthClient, path string) {
	v.pem(c.CA, path+".ca")
	secret, key, how := !c.ClientSecret.IsZero(), !c.ClientKey.IsZero(), c.ClientAuth
	switch {
	case secret && key:
		v.fail(path+".client_key", "stands beside client_secret", "the gateway proves who it is by the one or by the other")
	case how == "private_key_jwt" && !key:
		v.fail(path+".client_auth", "private_key_jwt wants a key", "client_key: ${file:/etc/sluice/client.pem}")
	case (how == "client_secret_basic" || how == "client_secret_post") && !secret:
		v.fail(path+".client_auth", fmt.Sprintf("%s wants a secret", how), "client_secret: ${ID_SECRET}")
	case key && how != "auto" && how != "private_key_jwt" || secret && how == "none":
		v.fail(path+".client_auth", "is not for what stands beside it", "client_auth: auto")
	}
}

// unproven reports whether the gateway has nothing to prove who it is with. What was mistyped has been reported.
func (v *validator) unproven(c *OAuthClient, path string) bool {
	return c.ClientSecret.IsZero() && c.ClientKey.IsZero() && !v.report.touched[path+".client_secret"] && !v.report.touched[path+".client_key"]
}
