package control

import (
	"net/http"
	"net/http/pprof"
)

// HandleProfiles adds Go's own profiles below /debug/pprof/:
//
//	curl --unix-socket /run/proa/ID/proa.sock 'http://proa/debug/pprof/heap?gc=1' > heap
func HandleProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
