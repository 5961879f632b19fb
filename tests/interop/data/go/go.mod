module ferret.invalid/peers

go 1.25.0

require github.com/wmnsk/go-gtp v0.8.12

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/fiorix/go-diameter/v4 v4.1.0 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/ishidawataru/sctp v0.0.0-20251114114122-19ddcbc6aae2 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_golang v1.22.0 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.63.0 // indirect
	github.com/prometheus/procfs v0.16.1 // indirect
	github.com/vishvananda/netlink v1.3.0 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/net v0.52.0 // indirect
	golang.org/x/sys v0.42.0 // indirect
	golang.org/x/text v0.35.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260311181403-84a4fc48630c // indirect
	google.golang.org/grpc v1.79.2 // indirect
	google.golang.org/protobuf v1.36.11 // indirect
	gopkg.in/yaml.v2 v2.4.0 // indirect
)

tool (
	github.com/fiorix/go-diameter/v4/examples/s6a_client
	github.com/fiorix/go-diameter/v4/examples/s6a_server
	github.com/wmnsk/go-gtp/examples/gw-tester/enb
	github.com/wmnsk/go-gtp/examples/gw-tester/mme
	github.com/wmnsk/go-gtp/examples/gw-tester/pgw
	github.com/wmnsk/go-gtp/examples/gw-tester/sgw
)
