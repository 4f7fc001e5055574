package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	"k8s.io/cluster-bootstrap/util/tokens"

	"github.com/proa-project/proa/internal/pki"
)

func newToken(where locate) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Let other machines join the cluster"}
	cmd.AddCommand(newTokenCreate(where))
	return cmd
}

func newTokenCreate(where locate) *cobra.Command {
	var ttl time.Duration
	var server string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token, and print the command by which another machine joins",
		Long: `Make a token, and print the command by which another machine joins the cluster.
Whoever has the token may add nodes as long as it is good; it can be taken back:

  kubectl -n kube-system delete secret bootstrap-token-ID`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			if err := useKubeconfig(l); err != nil {
				return err
			}
			config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
			if err != nil {
				return fmt.Errorf("read kubeconfig: %w", err)
			}
			if server == "" {
				if server, err = outsideURL(config.Host); err != nil {
					return err
				}
			}
			return createToken(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), config, server, ttl)
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long the token is good")
	cmd.Flags().StringVar(&server, "server", "", "URL of the API server, as the other machine reaches it (default: by this machine's address)")
	return cmd
}

func createToken(ctx context.Context, out, say io.Writer, config *rest.Config, server string, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("--ttl %v: want some time", ttl)
	}
	ca, err := pki.ParsePEM(config.CAData)
	if err != nil {
		return fmt.Errorf("authority of the kubeconfig: %w", err)
	}
	token, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	secret, err := tokenSecret(token, time.Now().Add(ttl))
	if err != nil {
		return err
	}
	if _, err := api.CoreV1().Secrets(secret.Namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("keep the token: %w", err)
	}
	fmt.Fprintf(say, "On the other machine, as root, within %s:\n\n", shortly(ttl))
	fmt.Fprintf(out, "proa join --server %s --token %s --ca-hash %s\n", server, token, pki.Pin(ca))
	return nil
}

// shortly is a duration without the zeros at its end.
func shortly(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.Round(time.Second).String()
}

func tokenSecret(token string, end time.Time) (*v1.Secret, error) {
	id, secret, err := tokens.ParseToken(token)
	if err != nil {
		return nil, err
	}
	return &v1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: bootstraputil.BootstrapTokenSecretName(id)},
		Type:       bootstrapapi.SecretTypeBootstrapToken,
		StringData: map[string]string{
			bootstrapapi.BootstrapTokenIDKey: id, bootstrapapi.BootstrapTokenSecretKey: secret,
			bootstrapapi.BootstrapTokenExpirationKey:       end.UTC().Format(time.RFC3339),
			bootstrapapi.BootstrapTokenUsageAuthentication: "true",
			bootstrapapi.BootstrapTokenDescriptionKey:      "made by proa token create",
		},
	}, nil
}

// outsideURL is the API server's, by the address with which this machine goes out.
func outsideURL(local string) (string, error) {
	u, err := url.Parse(local)
	if err != nil {
		return "", fmt.Errorf("server of the kubeconfig: %w", err)
	}
	// Nothing is sent: the kernel only says which address it would use.
	conn, err := net.Dial("udp4", "203.0.113.1:9")
	if err != nil {
		return "", errors.New("this machine has no address of its own: name one that the other machine reaches with --server https://ADDRESS:" + u.Port())
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "", err
	}
	u.Host = net.JoinHostPort(host, u.Port())
	return u.String(), nil
}
