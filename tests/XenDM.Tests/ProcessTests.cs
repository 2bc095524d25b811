using System;
using System.Diagnostics;
using System.IO;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using XenDM.Testing;

namespace XenDM.Tests;

/// <summary>The program as a toolstack and a new user start it: a process of its own.</summary>
public sealed class ProcessTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-test").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("-nonsense", "-nonsense")]
    [InlineData("-xen-domid 1 -drive file=/missing/disk.img,if=ide,index=0", "/missing/disk.img")]
    [InlineData("-xen-domid 1 -drive file=/,if=ide,index=0", "directory")]
    [InlineData("-xen-domid 1 -device qxl-vga", "qxl-vga")]
    [InlineData("-xen-domid 1 -kernel /missing/kernel", "/missing/kernel")]
    [InlineData("-xen-domid 1 -serial file:/missing/log", "/missing/log")]
    [InlineData("-xen-domid 1 -mon chardev=nobody,mode=control", "nobody")]
    [InlineData("-xen-domid 1 -runas no-such-user", "no-such-user")]
    public void MistakesEndWithOneLineAndStatusOne(string arguments, string named)
    {
        using var process = Start(arguments.Split(' '));
        var errors = process.StandardError.ReadToEnd();
        Assert.True(process.WaitForExit(30_000));
        Assert.Equal(1, process.ExitCode);
        var last = errors.TrimEnd().Split('\n')[^1];
        Assert.StartsWith("xendm: ", last, StringComparison.Ordinal);
        Assert.Contains(named, last, StringComparison.OrdinalIgnoreCase);
    }

    [HostTheory(Without = TestHost.XenDevice)]
    [InlineData("-xen-domid 1")]
    [InlineData("-xen-domid 1 -xen-attach -machine xenpv")]
    public void WithoutXenItSaysSo(string arguments)
    {
        using var process = Start(arguments.Split(' '));
        var errors = process.StandardError.ReadToEnd();
        Assert.True(process.WaitForExit(30_000));
        Assert.Equal(1, process.ExitCode);
        Assert.Contains("xen", errors.TrimEnd().Split('\n')[^1], StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>The probe of Xen 4.20 and later: no machine, one question, quit.</summary>
    [Fact]
    public void TheProbeAnswersAndQuits()
    {
        var path = Path.Combine(_folder, "qmp");
        using var process = Start("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=xen", "-chardev", $"socket,id=libxl-cmd,path={path},server=on,wait=off", "-mon", "chardev=libxl-cmd,mode=control");
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        for (var tries = 0; !File.Exists(path) && tries < 300; tries++) Thread.Sleep(50);
        socket.Connect(new UnixDomainSocketEndPoint(path));
        using var stream = new NetworkStream(socket);
        using var reader = new StreamReader(stream);
        Assert.Contains("\"QMP\"", reader.ReadLine(), StringComparison.Ordinal);
        stream.Write("{\"execute\":\"qmp_capabilities\",\"id\":1}\r\n"u8);
        Assert.Equal("{\"return\":{},\"id\":1}", reader.ReadLine());
        stream.Write("{\"execute\":\"query-command-line-options\",\"id\":2}\r\n"u8);
        var options = reader.ReadLine();
        Assert.Contains("\"run-with\"", options, StringComparison.Ordinal);
        Assert.Contains("\"chroot\"", options, StringComparison.Ordinal);
        stream.Write("{\"execute\":\"system_reset\",\"id\":3}\r\n"u8);
        Assert.Contains("there is no machine", reader.ReadLine(), StringComparison.Ordinal);
        stream.Write("{\"execute\":\"quit\",\"id\":4}\r\n"u8);
        Assert.Equal("{\"return\":{},\"id\":4}", reader.ReadLine());
        Assert.True(process.WaitForExit(30_000));
        Assert.Equal(0, process.ExitCode);
        Assert.False(File.Exists(path));
    }

    [Fact]
    public void ASignalEndsItAndTheLastLineSaysWhy()
    {
        var path = Path.Combine(_folder, "qmp");
        using var process = Start("-machine", "none", "-chardev", $"socket,id=m,path={path},server=on,wait=off", "-mon", "chardev=m,mode=control");
        for (var tries = 0; !File.Exists(path) && tries < 300; tries++) Thread.Sleep(50);
        using (var kill = Process.Start("kill", $"-HUP {process.Id}")) kill.WaitForExit();
        var errors = process.StandardError.ReadToEnd();
        Assert.True(process.WaitForExit(30_000));
        Assert.Equal(0, process.ExitCode);
        Assert.Contains("SIGHUP", errors.TrimEnd().Split('\n')[^1], StringComparison.Ordinal);
    }

    internal static Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardError = true, RedirectStandardOutput = true, StandardErrorEncoding = Encoding.UTF8 };
        start.ArgumentList.Add(typeof(Host).Assembly.Location);
        foreach (var argument in arguments) start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }
}
