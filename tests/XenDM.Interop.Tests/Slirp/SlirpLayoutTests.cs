using System.Runtime.InteropServices;
using XenDM.Interop.Slirp;

namespace XenDM.Interop.Tests.Slirp;

public sealed unsafe class SlirpLayoutTests
{
    private static int At<T>(string field) => (int)Marshal.OffsetOf<T>(field);

    [CompilerFact("slirp/libslirp.h")]
    public void Layouts_AreThoseOfTheHeader()
    {
        var c = new HeaderCheck("#include <slirp/libslirp.h>");

        // Later versions have more, behind what is used.
        c.Value($"sizeof(SlirpConfig) >= {sizeof(SlirpConfig)}", 1);
        c.Offset("SlirpConfig", "version", At<SlirpConfig>(nameof(SlirpConfig.Version)));
        c.Offset("SlirpConfig", "restricted", At<SlirpConfig>(nameof(SlirpConfig.Restricted)));
        c.Offset("SlirpConfig", "in_enabled", At<SlirpConfig>(nameof(SlirpConfig.HasIpv4)));
        c.Offset("SlirpConfig", "vnetwork", At<SlirpConfig>(nameof(SlirpConfig.Network)));
        c.Offset("SlirpConfig", "vnetmask", At<SlirpConfig>(nameof(SlirpConfig.Mask)));
        c.Offset("SlirpConfig", "vhost", At<SlirpConfig>(nameof(SlirpConfig.Host)));
        c.Offset("SlirpConfig", "in6_enabled", At<SlirpConfig>(nameof(SlirpConfig.HasIpv6)));
        c.Offset("SlirpConfig", "vprefix_addr6", At<SlirpConfig>(nameof(SlirpConfig.Prefix6)));
        c.Offset("SlirpConfig", "vprefix_len", At<SlirpConfig>(nameof(SlirpConfig.Prefix6Length)));
        c.Offset("SlirpConfig", "vhost6", At<SlirpConfig>(nameof(SlirpConfig.Host6)));
        c.Offset("SlirpConfig", "vhostname", At<SlirpConfig>(nameof(SlirpConfig.HostName)));
        c.Offset("SlirpConfig", "tftp_server_name", At<SlirpConfig>(nameof(SlirpConfig.TftpServerName)));
        c.Offset("SlirpConfig", "tftp_path", At<SlirpConfig>(nameof(SlirpConfig.TftpPath)));
        c.Offset("SlirpConfig", "bootfile", At<SlirpConfig>(nameof(SlirpConfig.BootFile)));
        c.Offset("SlirpConfig", "vdhcp_start", At<SlirpConfig>(nameof(SlirpConfig.DhcpStart)));
        c.Offset("SlirpConfig", "vnameserver", At<SlirpConfig>(nameof(SlirpConfig.NameServer)));
        c.Offset("SlirpConfig", "vnameserver6", At<SlirpConfig>(nameof(SlirpConfig.NameServer6)));
        c.Offset("SlirpConfig", "vdnssearch", At<SlirpConfig>(nameof(SlirpConfig.DnsSearch)));
        c.Offset("SlirpConfig", "vdomainname", At<SlirpConfig>(nameof(SlirpConfig.DomainName)));
        c.Offset("SlirpConfig", "if_mtu", At<SlirpConfig>(nameof(SlirpConfig.Mtu)));
        c.Offset("SlirpConfig", "if_mru", At<SlirpConfig>(nameof(SlirpConfig.Mru)));
        c.Offset("SlirpConfig", "disable_host_loopback", At<SlirpConfig>(nameof(SlirpConfig.DisableHostLoopback)));
        c.Offset("SlirpConfig", "enable_emu", At<SlirpConfig>(nameof(SlirpConfig.EnableEmulation)));
        c.Offset("SlirpCb", "send_packet", At<SlirpCallbacks>(nameof(SlirpCallbacks.SendPacket)));
        c.Offset("SlirpCb", "guest_error", At<SlirpCallbacks>(nameof(SlirpCallbacks.GuestError)));
        c.Offset("SlirpCb", "clock_get_ns", At<SlirpCallbacks>(nameof(SlirpCallbacks.ClockNanoseconds)));
        c.Offset("SlirpCb", "timer_new", At<SlirpCallbacks>(nameof(SlirpCallbacks.TimerNew)));
        c.Offset("SlirpCb", "timer_free", At<SlirpCallbacks>(nameof(SlirpCallbacks.TimerFree)));
        c.Offset("SlirpCb", "timer_mod", At<SlirpCallbacks>(nameof(SlirpCallbacks.TimerModify)));
        c.Offset("SlirpCb", "register_poll_fd", At<SlirpCallbacks>(nameof(SlirpCallbacks.RegisterPollFd)));
        c.Offset("SlirpCb", "unregister_poll_fd", At<SlirpCallbacks>(nameof(SlirpCallbacks.UnregisterPollFd)));
        c.Offset("SlirpCb", "notify", At<SlirpCallbacks>(nameof(SlirpCallbacks.Notify)));
        c.Value($"sizeof(SlirpCb) >= __builtin_offsetof(SlirpCb, notify) + 8 && sizeof(SlirpCb) <= {sizeof(SlirpCallbacks)}", 1);
        c.Value("SLIRP_POLL_IN", (int)SlirpEvents.In);
        c.Value("SLIRP_POLL_OUT", (int)SlirpEvents.Out);
        c.Value("SLIRP_POLL_PRI", (int)SlirpEvents.Priority);
        c.Value("SLIRP_POLL_ERR", (int)SlirpEvents.Error);
        c.Value("SLIRP_POLL_HUP", (int)SlirpEvents.Hangup);
        c.Value("SLIRP_CONFIG_VERSION_MIN", 1);
        c.Verify();
    }
}
