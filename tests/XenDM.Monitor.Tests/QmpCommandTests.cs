using System.Linq;
using System.Text.Json;

namespace XenDM.Monitor.Tests;

public sealed class QmpCommandTests
{
    [Theory]
    [InlineData("""{"execute":"foo"}""", "CommandNotFound", "The command foo has not been found")]
    [InlineData("""{"execute":"query-cpus"}""", "CommandNotFound", "The command query-cpus has not been found")]
    [InlineData("""{"execute":"cpu-add","arguments":{"id":1}}""", "CommandNotFound", "The command cpu-add has not been found")]
    [InlineData("""{"execute":"xen-colo-do-checkpoint"}""", "CommandNotFound", "The command xen-colo-do-checkpoint has not been found")]
    [InlineData("""{"execute":"query-xen-replication-status"}""", "CommandNotFound", "The command query-xen-replication-status has not been found")]
    [InlineData("""{"execute":"stop","arguments":{"x":1}}""", "GenericError", "Parameter 'x' is unexpected")]
    [InlineData("""{"execute":"eject"}""", "GenericError", "Need exactly one of 'device' and 'id'")]
    [InlineData("""{"execute":"eject","arguments":{"id":"a","device":"b"}}""", "GenericError", "Need exactly one of 'device' and 'id'")]
    [InlineData("""{"execute":"eject","arguments":{"id":5}}""", "GenericError", "Invalid parameter type for 'id', expected: string")]
    [InlineData("""{"execute":"eject","arguments":{"id":"ide-5632","bogus":1}}""", "GenericError", "Parameter 'bogus' is unexpected")]
    [InlineData("""{"execute":"eject","arguments":{"id":"ide-5632","force":"x"}}""", "GenericError", "Invalid parameter type for 'force', expected: boolean")]
    [InlineData("""{"execute":"eject","arguments":{"id":"zz"}}""", "DeviceNotFound", "Device 'zz' not found")]
    [InlineData("""{"execute":"blockdev-change-medium","arguments":{"id":"ide-5632"}}""", "GenericError", "Parameter 'filename' is missing")]
    [InlineData("""{"execute":"blockdev-change-medium","arguments":{"id":"ide-5632","filename":"/x","read-only-mode":"y"}}""", "GenericError", "Parameter 'read-only-mode' does not accept value 'y'")]
    [InlineData("""{"execute":"blockdev-change-medium","arguments":{"id":"ide-5632","filename":"/dev/fdset/9"}}""", "GenericError", "Could not open '/dev/fdset/9': there is no such set of file descriptors")]
    [InlineData("""{"execute":"blockdev-change-medium","arguments":{"id":"ide-5632","filename":"/dev/fdset/-1"}}""", "GenericError", "Could not open '/dev/fdset/-1': there is no such set of file descriptors")]
    [InlineData("""{"execute":"change-vnc-password","arguments":{"password":"x"}}""", "GenericError", "Could not set password: there is no VNC display")]
    [InlineData("""{"execute":"set_password","arguments":{"protocol":"spice","password":"x"}}""", "DeviceNotActive", "SPICE is not in use")]
    [InlineData("""{"execute":"set_password","arguments":{"protocol":"rdp","password":"x"}}""", "GenericError", "Parameter 'protocol' does not accept value 'rdp'")]
    [InlineData("""{"execute":"set_password","arguments":{"protocol":"vnc","password":"x","connected":"fail"}}""", "GenericError", "parameter 'connected' must be 'keep' when 'protocol' is 'vnc'")]
    [InlineData("""{"execute":"set_password","arguments":{"protocol":"vnc"}}""", "GenericError", "Parameter 'password' is missing")]
    [InlineData("""{"execute":"expire_password","arguments":{"protocol":"vnc","time":"soon"}}""", "GenericError", "'soon' must be now, never, +SECONDS or seconds since 1970")]
    [InlineData("""{"execute":"expire_password","arguments":{"protocol":"vnc","time":"-5"}}""", "GenericError", "'-5' must be now, never, +SECONDS or seconds since 1970")]
    [InlineData("""{"execute":"change-vnc-password"}""", "GenericError", "Parameter 'password' is missing")]
    [InlineData("""{"execute":"add-fd"}""", "GenericError", "No file descriptor supplied via SCM_RIGHTS")]
    [InlineData("""{"execute":"remove-fd","arguments":{"fdset-id":7}}""", "GenericError", "File descriptor named 'fdset-id:7' not found")]
    [InlineData("""{"execute":"remove-fd","arguments":{"fdset-id":"7"}}""", "GenericError", "Invalid parameter type for 'fdset-id', expected: integer")]
    [InlineData("""{"execute":"device_add","arguments":{"driver":"xen-pci-passthrough","id":"x","hostaddr":"0000:01:00.0"}}""", "GenericError", "'xen-pci-passthrough' is not a valid device model name")]
    [InlineData("""{"execute":"device_add","arguments":{"id":"x"}}""", "GenericError", "Parameter 'driver' is missing")]
    [InlineData("""{"execute":"device_del","arguments":{"id":"x"}}""", "DeviceNotFound", "Device 'x' not found")]
    [InlineData("""{"execute":"device_del"}""", "GenericError", "Parameter 'id' is missing")]
    [InlineData("""{"execute":"system_wakeup"}""", "GenericError", "Unable to wake up: guest is not in suspended state")]
    [InlineData("""{"execute":"xen-save-devices-state"}""", "GenericError", "Parameter 'filename' is missing")]
    [InlineData("""{"execute":"xen-save-devices-state","arguments":{"filename":"/x","live":1}}""", "GenericError", "Invalid parameter type for 'live', expected: boolean")]
    [InlineData("""{"execute":"xen-load-devices-state","arguments":{"filename":"/x"}}""", "GenericError", "Device state can only be loaded at the start, with '-incoming fd:N'")]
    [InlineData("""{"execute":"xen-set-global-dirty-log","arguments":{"enable":1}}""", "GenericError", "Invalid parameter type for 'enable', expected: boolean")]
    [InlineData("""{"execute":"xen-set-global-dirty-log"}""", "GenericError", "Parameter 'enable' is missing")]
    [InlineData("""{"execute":"query-command-line-options","arguments":{"option":"zz"}}""", "GenericError", "invalid option name: zz")]
    [InlineData("""{"execute":"set_link","arguments":{"name":"net0"}}""", "GenericError", "Parameter 'up' is missing")]
    [InlineData("""{"execute":"screendump","arguments":{"filename":"/tmp/x","format":"gif"}}""", "GenericError", "Parameter 'format' does not accept value 'gif'")]
    [InlineData("""{"execute":"screendump","arguments":{"filename":"/dev/fdset/7"}}""", "GenericError", "Could not open '/dev/fdset/7': there is no such set of file descriptors")]
    [InlineData("""{"execute":"netdev_add","arguments":{"type":"user"}}""", "GenericError", "Parameter 'id' is missing")]
    [InlineData("""{"execute":"netdev_add","arguments":{"type":"user","id":"x","net":null}}""", "GenericError", "Invalid parameter type for 'net', expected: string")]
    [InlineData("""{"execute":"netdev_add","arguments":{"type":"user","id":"x","net":[[]]}}""", "GenericError", "Invalid parameter type for 'net', expected: string")]
    public void Errors_have_the_class_and_words_that_clients_know(string message, string errorClass, string text)
    {
        using var bench = new MonitorBench();
        Assert.Equal($$$"""{"error":{"class":"{{{errorClass}}}","desc":"{{{text}}}"}}""", bench.Ask(message));
        Assert.Empty(bench.Target.Calls);
    }

    [Theory]
    [InlineData("""{"execute":"cont"}""", "cont")]
    [InlineData("""{"execute":"system_powerdown"}""", "powerdown")]
    [InlineData("""{"execute":"eject","arguments":{"id":"ide-5632"}}""", "eject ide-5632 False")]
    [InlineData("""{"execute":"eject","arguments":{"device":"ide-5632","force":true}}""", "eject ide-5632 True")]
    [InlineData("""{"execute":"blockdev-change-medium","arguments":{"id":"ide-5632","filename":"/a b.iso","format":"raw"}}""", "change ide-5632 /a b.iso -1 raw True")]
    [InlineData("""{"execute":"xen-set-global-dirty-log","arguments":{"enable":true}}""", "dirty-log True")]
    [InlineData("""{"execute":"xen-save-devices-state","arguments":{"live":true,"filename":"/tmp/x"}}""", "save /tmp/x -1")]
    [InlineData("""{"execute":"device_add","arguments":{"id":"cpu-1","driver":"qemu32-i386-cpu","socket-id":1,"core-id":0,"thread-id":0}}""", "cpu 1")]
    [InlineData("""{"execute":"set_link","arguments":{"name":"net0","up":false}}""", "link net0 False")]
    [InlineData("""{"execute":"screendump","arguments":{"filename":"/tmp/x"}}""", "screen /tmp/x -1 False  ")]
    [InlineData("""{"execute":"screendump","arguments":{"filename":"/tmp/x","format":"png","device":"vga","head":0}}""", "screen /tmp/x -1 True vga 0")]
    [InlineData("""{"execute":"netdev_del","arguments":{"id":"net0"}}""", "no netdev net0")]
    [InlineData("""{"execute":"netdev_add","arguments":{"type":"user","id":"u","restrict":true,"hostfwd":[{"str":"tcp::1-:2"},{"str":"udp::3-:4"}],"queues":2}}""",
        "netdev [type, user] [id, u] [restrict, on] [hostfwd, tcp::1-:2] [hostfwd, udp::3-:4] [queues, 2]")]
    [InlineData("""{"execute":"netdev_add","arguments":{"type":"stream","id":"s","server":false,"addr":{"type":"unix","path":"/a,b"}}}""", "netdev [type, stream] [id, s] [server, off] [addr.type, unix] [addr.path, /a,b]")]
    public void Commands_reach_the_machine(string message, string call)
    {
        using var bench = new MonitorBench();
        bench.Client.Send(message);
        Assert.Equal("""{"return":{}}""", bench.Client.TakeLines()[^1]);
        Assert.Equal([call], bench.Target.Calls);
    }

    [Theory]
    [InlineData("query-version", """{"qemu":{"major":8,"minor":2,"micro":0},"package":"XenDM 1.2"}""")]
    [InlineData("query-name", """{"name":"guest"}""")]
    [InlineData("query-uuid", """{"UUID":"00000000-0000-0000-0000-000000000000"}""")]
    [InlineData("query-target", """{"arch":"x86_64"}""")]
    [InlineData("query-kvm", """{"enabled":false,"present":false}""")]
    [InlineData("query-vnc", """{"enabled":false}""")]
    [InlineData("query-status", """{"status":"prelaunch","running":false}""")]
    [InlineData("x-xendm-counters", """{"requests":7,"items":9,"unclaimed":1,"regions":[{"name":"ide0 command","space":"port","address":496,"reads":3,"writes":4}],"process":{"pid":42,"memory-bytes":1048576,"cpu-ms":250}}""")]
    [InlineData("query-fdsets", "[]")]
    [InlineData("query-chardev", """[{"frontend-open":true,"filename":"pty:/dev/pts/7","label":"serial0"},{"frontend-open":true,"filename":"disconnected:unix:/run/xen/qmp-libxenstat-1,server=on","label":"libxenstat-cmd"}]""")]
    [InlineData("query-command-line-options", """[{"option":"run-with","parameters":[{"name":"chroot","type":"string"},{"name":"user","type":"string"}]},{"option":"name","parameters":[{"name":"guest","type":"string"}]}]""")]
    public void Queries_answer(string command, string answer)
    {
        using var bench = new MonitorBench();
        Assert.Equal($$"""{"return":{{answer}}}""", bench.Ask($$"""{"execute":"{{command}}"}"""));
    }

    [Theory]
    [InlineData("""{"execute":"change-vnc-password","arguments":{"password":"x"}}""", "vnc password x")]
    [InlineData("""{"execute":"set_password","arguments":{"protocol":"vnc","password":"y","connected":"keep","display":"default"}}""", "vnc password y")]
    [InlineData("""{"execute":"expire_password","arguments":{"protocol":"vnc","time":"now"}}""", "vnc expires 0 False")]
    [InlineData("""{"execute":"expire_password","arguments":{"protocol":"vnc","time":"never"}}""", "vnc expires 9223372036854775807 False")]
    [InlineData("""{"execute":"expire_password","arguments":{"protocol":"vnc","time":"+60"}}""", "vnc expires 60 True")]
    [InlineData("""{"execute":"expire_password","arguments":{"protocol":"vnc","time":"1700000000"}}""", "vnc expires 1700000000 False")]
    public void Passwords_of_VNC_are_set(string message, string call)
    {
        using var bench = new MonitorBench();
        bench.Target.Vnc = new VncInfo([], "vnc", []);
        Assert.Equal("""{"return":{}}""", bench.Ask(message));
        Assert.Equal([call], bench.Target.Calls);
    }

    [Fact]
    public void A_VNC_server_is_shown()
    {
        using var bench = new MonitorBench();
        VncEndInfo plain = new("127.0.0.1", "5901", "ipv4", false), web = new("::1", "5701", "ipv6", true), peer = new("127.0.0.1", "40000", "ipv4", false);
        bench.Target.Vnc = new VncInfo([plain, web], "vencrypt+x509+vnc", [new VncPeerInfo(peer, "CN=me")]);
        Assert.Equal("""{"return":{"enabled":true,"host":"127.0.0.1","service":"5901","family":"ipv4","auth":"vencrypt+x509+vnc","clients":[{"host":"127.0.0.1","service":"40000","family":"ipv4","websocket":false,"x509_dname":"CN=me"}]}}""",
            bench.Ask("""{"execute":"query-vnc"}"""));
        Assert.Equal("""{"return":[{"id":"default","server":[{"host":"127.0.0.1","service":"5901","family":"ipv4","websocket":false,"auth":"vencrypt","vencrypt":"x509-vnc"},{"host":"::1","service":"5701","family":"ipv6","websocket":true,"auth":"vencrypt","vencrypt":"x509-vnc"}],"auth":"vencrypt","vencrypt":"x509-vnc","clients":[{"host":"127.0.0.1","service":"40000","family":"ipv4","websocket":false,"x509_dname":"CN=me"}]}]}""",
            bench.Ask("""{"execute":"query-vnc-servers"}"""));
        bench.Target.Events!.Vnc("VNC_INITIALIZED", plain, "none", new VncPeerInfo(peer, null));
        Assert.EndsWith(""","event":"VNC_INITIALIZED","data":{"server":{"host":"127.0.0.1","service":"5901","family":"ipv4","websocket":false,"auth":"none"},"client":{"host":"127.0.0.1","service":"40000","family":"ipv4","websocket":false}}}""",
            bench.Client.TakeLines()[^1], System.StringComparison.Ordinal);
    }

    /// <summary>What libxl and libxenstat read of the longer answers (contract sections 2.4 and 3.2).</summary>
    [Fact]
    public void Toolstacks_find_their_fields()
    {
        using var bench = new MonitorBench();
        JsonElement Query(string command)
        {
            using var reply = JsonDocument.Parse(bench.Ask($$"""{"execute":"{{command}}"}"""));
            return reply.RootElement.GetProperty("return").Clone();
        }

        var blocks = Query("query-block");
        Assert.Equal("/images/disk.img", blocks[0].GetProperty("inserted").GetProperty("file").GetString());
        Assert.Equal("ide-5632", blocks[1].GetProperty("device").GetString());
        Assert.True(blocks[1].GetProperty("locked").GetBoolean());
        Assert.False(blocks[1].TryGetProperty("inserted", out _));
        var stats = Query("query-blockstats")[0];
        Assert.Equal("ide0-hd0", stats.GetProperty("device").GetString());
        Assert.Equal((512, 1024, 1, 2), (Stat("rd_bytes"), Stat("wr_bytes"), Stat("rd_operations"), Stat("wr_operations")));
        var functions = Query("query-pci")[0].GetProperty("devices");
        Assert.Equal("", functions[0].GetProperty("qdev_id").GetString());
        Assert.Equal(("nic0", 4, 0), (functions[1].GetProperty("qdev_id").GetString(), functions[1].GetProperty("slot").GetInt32(), functions[1].GetProperty("function").GetInt32()));
        Assert.Equal(0, Assert.Single(Query("query-cpus-fast").EnumerateArray()).GetProperty("cpu-index").GetInt32());
        var cpus = Query("query-hotpluggable-cpus");
        Assert.Equal(2, cpus.GetArrayLength());
        Assert.Equal("qemu32-i386-cpu", cpus[0].GetProperty("type").GetString());

        int Stat(string name) => stats.GetProperty("stats").GetProperty(name).GetInt32();
    }

    /// <summary>The dialogue of the start-up probe of Xen 4.20.</summary>
    [Fact]
    public void Answers_the_probe()
    {
        using var bench = new MonitorBench(negotiate: false);
        bench.Client.Open();
        bench.Client.TakeLines();
        bench.Ask("{\"execute\":\"qmp_capabilities\",\"id\":2020372736}\r\n");
        var options = bench.Ask("{\"execute\":\"query-command-line-options\",\"id\":2020372737}\r\n");
        Assert.Contains("\"option\":\"run-with\"", options);
        Assert.EndsWith("\"id\":2020372737}", options);
        Assert.Equal("""{"return":{},"id":2020372738}""", bench.Ask("{\"execute\":\"quit\",\"id\":2020372738}\r\n"));
    }

    /// <summary>Every command that is listed runs without arguments or says which one is missing; none is unknown.</summary>
    [Fact]
    public void Lists_what_it_knows()
    {
        using var bench = new MonitorBench();
        using var reply = JsonDocument.Parse(bench.Ask("""{"execute":"query-commands"}"""));
        var names = reply.RootElement.GetProperty("return").EnumerateArray().Select(e => e.GetProperty("name").GetString()!).ToArray();
        Assert.True(names.Length > 35);
        foreach (var name in names.Where(n => n != "qmp_capabilities"))
        {
            bench.Client.Send($$"""{"execute":"{{name}}"}""");
            Assert.DoesNotContain("CommandNotFound", bench.Client.TakeLines()[^1]);
            bench.Client.Send($$$"""{"execute":"{{{name}}}","arguments":{"no-such-argument":[1]}}""");
            if (name is not ("device_add" or "netdev_add")) Assert.Contains("Parameter 'no-such-argument' is unexpected", bench.Client.TakeLines()[^1]);
            else bench.Client.TakeLines();
        }
    }

    [Theory]
    [InlineData("info status", "VM status: paused\r\n")]
    [InlineData(" info status ", "VM status: paused\r\n")]
    [InlineData("blah x", "unknown command: 'blah x'\r\n")]
    [InlineData("", "")]
    public void Human_commands_answer_with_text(string line, string answer)
    {
        using var bench = new MonitorBench();
        using var reply = JsonDocument.Parse(bench.Ask($$$"""{"execute":"human-monitor-command","arguments":{"command-line":"{{{line}}}"}}"""));
        Assert.Equal(answer, reply.RootElement.GetProperty("return").GetString());
    }

    [Fact]
    public void A_passed_descriptor_serves_a_cd_change()
    {
        using var bench = new MonitorBench();
        bench.Target.RunState = "running";
        bench.Client.Fds.Enqueue(20);
        Assert.Equal("""{"return":{"fdset-id":0,"fd":20}}""", bench.Ask("""{"execute":"add-fd","arguments":{"opaque":"raw:/x.iso"}}"""));
        Assert.Equal("""{"return":[{"fdset-id":0,"fds":[{"fd":20,"opaque":"raw:/x.iso"}]}]}""", bench.Ask("""{"execute":"query-fdsets"}"""));
        bench.Ask("""{"execute":"blockdev-change-medium","arguments":{"id":"ide-5632","filename":"/dev/fdset/0","format":"raw"}}""");

        // The drive has its own; the set's goes when the last client does.
        Assert.Equal(["change ide-5632 /dev/fdset/0 1001 raw True"], bench.Target.Calls);
        Assert.Equal(20, bench.Duplicates[1001]);
        Assert.Empty(bench.Closed);
        bench.Client.Close();
        Assert.Equal([20], bench.Closed);
    }

    [Fact]
    public void A_passed_descriptor_serves_a_save()
    {
        using var bench = new MonitorBench();
        bench.Target.RunState = "paused";
        bench.Client.Fds.Enqueue(21);
        bench.Ask("""{"execute":"add-fd"}""");
        bench.Ask("""{"execute":"xen-save-devices-state","arguments":{"filename":"/dev/fdset/0","live":true}}""");
        Assert.Equal(["save /dev/fdset/0 21"], bench.Target.Calls);
        bench.Client.Close();
        Assert.Empty(bench.Closed);
        Assert.Single(bench.Fds.All);
    }

    [Fact]
    public void Sets_are_numbered_shared_and_removed()
    {
        using var bench = new MonitorBench();
        for (var fd = 30; fd < 34; fd++) bench.Client.Fds.Enqueue(fd);
        bench.Ask("""{"execute":"add-fd"}""");
        Assert.Contains("\"fdset-id\":1,\"fd\":31", bench.Ask("""{"execute":"add-fd"}"""));
        Assert.Contains("\"fdset-id\":1,\"fd\":32", bench.Ask("""{"execute":"add-fd","arguments":{"fdset-id":1}}"""));
        Assert.Contains("\"fdset-id\":9,\"fd\":33", bench.Ask("""{"execute":"add-fd","arguments":{"fdset-id":9}}"""));
        Assert.Contains("fdset-id:1, fd:99", bench.Ask("""{"execute":"remove-fd","arguments":{"fdset-id":1,"fd":99}}"""));
        Assert.Equal("""{"return":{}}""", bench.Ask("""{"execute":"remove-fd","arguments":{"fdset-id":1,"fd":31}}"""));
        Assert.Equal("""{"return":{}}""", bench.Ask("""{"execute":"remove-fd","arguments":{"fdset-id":9}}"""));
        Assert.Equal([31, 33], bench.Closed);
        bench.Fds.Dispose();
        Assert.Equal([31, 33, 30, 32], bench.Closed);
    }

    [Fact]
    public void Descriptors_of_failed_commands_are_closed_and_their_number_is_bounded()
    {
        using var bench = new MonitorBench();
        bench.Client.Fds.Enqueue(40);
        Assert.Contains("Invalid parameter type", bench.Ask("""{"execute":"add-fd","arguments":{"fdset-id":"x"}}"""));
        Assert.Equal([40], bench.Closed);
        for (var fd = 100; fd < 165; fd++)
        {
            bench.Client.Fds.Enqueue(fd);
            bench.Client.Send("""{"execute":"add-fd"}""");
        }

        Assert.Contains("there are 64 file descriptors already", bench.Client.TakeLines()[^1]);
        Assert.Equal([40, 164], bench.Closed);
    }
}
