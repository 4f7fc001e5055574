package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
)

// grpcProbe asks the standard health service (grpc.health.v1).
func grpcProbe(ctx context.Context, action *v1.GRPCAction, host string, limit time.Duration) (Verdict, string) {
	transport := insecure.NewCredentials()
	if action.Mode != nil && *action.Mode == v1.GRPCProbeModeTLS {
		transport = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}) // As HTTPS probes: whether, not who.
	}
	address := net.JoinHostPort(host, strconv.Itoa(int(action.Port)))
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		return dialer(limit).DialContext(ctx, "tcp", addr)
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(transport), grpc.WithUserAgent(userAgent), grpc.WithContextDialer(dial))
	if err != nil {
		return Failure, fmt.Sprintf("error: failed to connect service at %q: %+v", address, err)
	}
	defer conn.Close()
	service := ""
	if action.Service != nil {
		service = *action.Service
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(bounded, &grpc_health_v1.HealthCheckRequest{Service: service})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return Failure, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + status.Convert(err).Message()
	case codes.DeadlineExceeded:
		return Failure, fmt.Sprintf("timeout: health rpc did not complete within %v", limit)
	case codes.Unavailable:
		return Failure, fmt.Sprintf("error: failed to connect service at %q: %+v", address, err)
	default:
		return Failure, fmt.Sprintf("error: health rpc probe failed: %+v", err)
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return Failure, fmt.Sprintf("service unhealthy (responded with %q)", answer.GetStatus())
	}
	return Success, "service healthy"
}
