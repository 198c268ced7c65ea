package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Metadata is what an issuer says about itself (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2). Immutable.
type Metadata struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Introspection string `json:"introspection_endpoint"`
	EndSession    string `json:"end_session_endpoint"`
	Keys          string `json:"jwks_uri"`
	// NamesItself says that answers that come over a browser hold iss (RFC 9207).
	NamesItself bool `json:"authorization_response_iss_parameter_supported"`

	TokenAuth         []string `json:"token_endpoint_auth_methods_supported"`
	IntrospectionAuth []string `json:"introspection_endpoint_auth_methods_supported"`
}

// metadataBytesMax bounds the document of an issuer.
const metadataBytesMax = 256 << 10

// Discover fetches what an issuer says about itself: from where OpenID Connect has it, or else from where RFC 8414 has it. The URLs in it are
// not checked: whoever uses one asks CheckURL.
func Discover(ctx context.Context, client *http.Client, issuer string) (*Metadata, error) {
	// A slash at the end is left out (OpenID Connect Discovery 1.0 section 4.1).
	text, _, err := Get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", metadataBytesMax)
	var status *StatusError
	if errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusGone) {
		if other := wellKnown(issuer); other != "" {
			if found, _, otherErr := Get(ctx, client, other, metadataBytesMax); otherErr == nil {
				text, err = found, nil
			}
		}
	}
	if err != nil {
		return nil, err
	}
	m := &Metadata{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, errors.New("its answer is not the document that it should be")
	}
	if m.Issuer != issuer {
		// RFC 8414 section 3.3: one issuer must not speak for another.
		return nil, fmt.Errorf("the issuer calls itself %.100q, the configuration %.100q", m.Issuer, issuer)
	}
	return m, nil
}

// wellKnown is where RFC 8414 section 3.1 has the document: in front of the issuer's path.
func wellKnown(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.EscapedPath(), "/")
}
