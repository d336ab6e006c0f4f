package local

import (
	"net/http"
	"regexp"

	"fanwatch/local/aws/iotcore"
)

// scope finds the service in a request's signature: Credential=KEY/DATE/REGION/SERVICE/aws4_request
// (AWS general reference, "Signature Version 4").
var scope = regexp.MustCompile(`Credential=[^/]+/[0-9]{8}/[a-z0-9-]+/([a-z0-9-]+)/aws4_request`)

// gateway serves all local AWS services but S3 on one address, as the AWS CLI's --endpoint-url wants it:
// the signature says which service a request is for. Nothing verifies it, so pages of other sites are kept out.
func gateway(services map[string]http.Handler, pages http.Handler) http.Handler {
	return iotcore.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
		if m == nil {
			pages.ServeHTTP(w, r) // SNS: the inbox, and the links in its messages
			return
		}
		service, ok := services[m[1]]
		if !ok {
			http.Error(w, "the local AWS has no service "+m[1], http.StatusNotImplemented)
			return
		}
		service.ServeHTTP(w, r)
	}))
}
