using System;
using System.Threading;
using XenDM.Core.Backends;
using XenDM.Core.Hypervisor;
using XenDM.PvBackends.Rings;
using XenDM.PvBackends.XenBus;

namespace XenDM.PvBackends.Console;

/// <summary>
/// A PV console (xen/public/io/console.h): a page with a ring of bytes each way, whose indices count on for ever. Nothing is held in between: what the line does
/// not take stays in the guest's ring, and what the ring has no room for stays with the line. So the node <c>limit</c>, the bytes that a backend may
/// hold for a guest, is kept whatever it says. Machine thread.
/// </summary>
public sealed class ConsoleDevice : IPvDevice
{
    private const uint InputBytes = 1024, OutputBytes = 2048;
    private const int AtInput = 0, AtOutput = 1024;
    private const int AtInputConsumer = 3072, AtInputProducer = 3076, AtOutputConsumer = 3080, AtOutputProducer = 3084;
    private const int MaxPort = 1 << 17;
    private const string TerminalName = "pty:";

    private readonly XenPorts _ports;
    private readonly int _guest;
    private readonly ICharBackend _line;
    private readonly IEventLoop _loop;
    private readonly StoreFolder _front;
    private readonly Action _gone;
    private readonly Action _work;
    private readonly byte[] _output = new byte[OutputBytes];
    private IGrantMapping? _page;
    private IEventChannel? _channel;

    // Our ends of the rings. What the guest writes over them in the page is of no interest.
    private uint _taken, _given;
    private int _kicked;
    private bool _isBroken;

    internal ConsoleDevice(XenPorts ports, int guest, ICharBackend line, IEventLoop loop, StoreFolder front, Action gone)
    {
        (_ports, _guest, _line, _loop, _front, _gone) = (ports, guest, line, loop, front, gone);
        _work = Work;
    }

    public Action<string>? Broken { get; set; }

    public bool IsConnected => _channel is not null;

    /// <summary>Bytes of input that the guest's ring has room for; 0 where its index makes no sense.</summary>
    internal int InputRoom
    {
        get
        {
            if (_page is null || _isBroken) return 0;
            var waiting = _given - _page.ReadIndex(AtInputConsumer);
            return waiting <= InputBytes ? (int)(InputBytes - waiting) : 0;
        }
    }

    public void Offer(StoreFolder back)
    {
        // Whoever looks for the console finds the terminal there (xl console, virsh).
        if (_line.FileName.StartsWith(TerminalName, StringComparison.Ordinal)) _front.Write("tty", _line.FileName[TerminalName.Length..]);
    }

    public void Connect(StoreFolder front, StoreFolder back)
    {
        var grant = front.RequireNumber("ring-ref");
        var port = front.RequireNumber("port", 1, MaxPort);
        _channel = RingPages.Bind(_ports, _guest, port, Kick);
        IGrantMapping page;
        try
        {
            page = RingPages.Map(_ports, _guest, [grant], _channel);
        }
        catch (PvException)
        {
            Disconnect();
            throw;
        }

        // A front end that goes on with its ring, after this process was changed for another, begins where it stands.
        (_taken, _given) = (page.ReadIndex(AtOutputConsumer), page.ReadIndex(AtInputProducer));
        _isBroken = false;
        _page = page;
    }

    public void Disconnect()
    {
        _channel?.Dispose();
        _page?.Dispose();
        (_channel, _page) = (null, null);
    }

    public void Drain()
    {
        // Nothing is in flight between two calls.
    }

    public void Dispose()
    {
        Disconnect();
        _gone();
    }

    /// <summary>Input from outside. What is more than <see cref="InputRoom"/>, because the guest took room back, is lost.</summary>
    internal void Receive(ReadOnlySpan<byte> data)
    {
        var room = InputRoom;
        if (data.Length > room) data = data[..room];
        if (_page is null || _channel is null || data.IsEmpty) return;
        var at = (int)(_given % InputBytes);
        var first = Math.Min(data.Length, (int)InputBytes - at);
        _page.Write(AtInput + at, data[..first]);
        if (first < data.Length) _page.Write(AtInput, data[first..]);
        _given += (uint)data.Length;
        _page.WriteIndex(AtInputProducer, _given);
        _page.Written(0);
        _channel.Notify();
    }

    /// <summary>The line takes output again.</summary>
    internal void WriteReady() => SendOutput();

    /// <summary>The guest moved an index. From any thread.</summary>
    private void Kick()
    {
        if (Interlocked.Exchange(ref _kicked, 1) == 0) _loop.Post(_work);
    }

    private void Work()
    {
        Volatile.Write(ref _kicked, 0);
        if (_page is null || _isBroken) return;
        var waiting = _given - _page.ReadIndex(AtInputConsumer);
        if (waiting > InputBytes)
        {
            Break($"{waiting} bytes of input in a ring of {InputBytes}");
            return;
        }

        SendOutput();
        if (InputRoom > 0) _line.AcceptInput();
    }

    /// <summary>Takes what is there now: the guest sends an event for what comes later, so that this ends however fast it writes.</summary>
    private void SendOutput()
    {
        if (_page is null || _channel is null || _isBroken) return;
        var waiting = _page.ReadIndex(AtOutputProducer) - _taken;
        if (waiting == 0) return;
        if (waiting > OutputBytes)
        {
            Break($"{waiting} bytes of output in a ring of {OutputBytes}");
            return;
        }

        var at = (int)(_taken % OutputBytes);
        var first = Math.Min((int)waiting, (int)OutputBytes - at);
        var bytes = _output.AsSpan(0, (int)waiting);
        _page.Read(AtOutput + at, bytes[..first]);
        if (first < bytes.Length) _page.Read(AtOutput, bytes[first..]);
        var count = _line.Write(bytes);
        if (count <= 0) return;
        _taken += (uint)Math.Min(count, bytes.Length);
        _page.WriteIndex(AtOutputConsumer, _taken);
        _page.Written(0);
        _channel.Notify();
    }

    private void Break(string text)
    {
        _isBroken = true;
        Broken?.Invoke(text);
    }
}
