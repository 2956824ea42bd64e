// Command goplugin measures hashicorp/go-plugin for bench: a plugin process that
// squares, called over net/rpc. It is a program of its own so that what it links does
// not slow down the start of bench's worker processes. Requests "what n size" come on
// standard input, one a line; each is answered with a line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "BROOD_BENCH_PLUGIN", MagicCookieValue: "square"}

// squarePlugin is both ends of the plugin.
type squarePlugin struct{}

func (squarePlugin) Server(*plugin.MuxBroker) (any, error) { return &Squarer{}, nil }

func (squarePlugin) Client(_ *plugin.MuxBroker, c *rpc.Client) (any, error) { return c, nil }

// Squarer is what the plugin serves.
type Squarer struct{}

// Square is called over net/rpc.
func (*Squarer) Square(n int, out *int) error {
	*out = n * n
	return nil
}

func main() {
	plugins := plugin.PluginSet{"square": squarePlugin{}}
	quiet := hclog.NewNullLogger()
	if os.Getenv(handshake.MagicCookieKey) != "" {
		plugin.Serve(&plugin.ServeConfig{HandshakeConfig: handshake, Plugins: plugins, Logger: quiet})
		return
	}
	client := plugin.NewClient(&plugin.ClientConfig{HandshakeConfig: handshake, Plugins: plugins, Logger: quiet, Cmd: exec.Command(os.Args[0])})
	err := answer(client)
	client.Kill()
	if err != nil {
		fmt.Fprintln(os.Stderr, "goplugin:", err)
		os.Exit(1)
	}
}

// answer serves requests until there are no more.
func answer(client *plugin.Client) error {
	proto, err := client.Client()
	if err != nil {
		return err
	}
	raw, err := proto.Dispense("square")
	if err != nil {
		return err
	}
	c, ok := raw.(*rpc.Client)
	if !ok {
		return fmt.Errorf("the plugin is a %T", raw)
	}
	if _, err := call(c, 100); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var what string
		var n, size int
		if _, err := fmt.Sscan(in.Text(), &what, &n, &size); err != nil {
			return err
		}
		samples, err := call(c, n)
		if err != nil {
			return err
		}
		var sum float64
		for _, s := range samples {
			sum += s
		}
		if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"mean": sum / float64(n), "samples": samples}); err != nil {
			return err
		}
	}
	return nil
}

// call squares n times and returns the seconds of each.
func call(c *rpc.Client, n int) ([]float64, error) {
	samples := make([]float64, n)
	for i := range samples {
		began := time.Now()
		var out int
		if err := c.Call("Plugin.Square", 3, &out); err != nil {
			return nil, err
		}
		samples[i] = time.Since(began).Seconds()
	}
	return samples, nil
}
