using System;
using System.Runtime.CompilerServices;
using XenDM.Core.Backends;
using XenDM.Core.Tracing;
using XenDM.Hypervisor.Embedded.Xen.Events;

namespace XenDM.Hypervisor.Embedded.Xen;

/// <summary>
/// The guest's first console: a page with a ring of bytes each way (xen/public/io/console.h), led to a character backend, or nowhere. Indices
/// are the guest's; a ring that cannot be is emptied.
/// </summary>
internal sealed unsafe class ConsoleRing(IMachineLog log, Action notify) : IEventPeer, ICharFrontend
{
    private const uint InputBytes = 1024, OutputBytes = 2048;
    private const int OutputAt = 1024, InputConsumer = 3072, InputProducer = 3076, OutputConsumer = 3080, OutputProducer = 3084;

    private ICharBackend? _backend;
    private byte* _page;

    /// <summary>Where the guest's output goes and its input comes from.</summary>
    public void Attach(ICharBackend backend)
    {
        _backend = backend;
        backend.Attach(this);
    }

    /// <summary>Starts over with another page, which stays where it is.</summary>
    public void Connect(nint page) => _page = (byte*)page;

    void IEventPeer.Notified()
    {
        Drain();
        if (ReceiveRoom > 0) _backend?.AcceptInput();
    }

    void IEventPeer.Closed()
    {
    }

    public int ReceiveRoom
    {
        get
        {
            if (_page == null) return 0;
            var there = Get(InputProducer) - Get(InputConsumer);
            return there <= InputBytes ? (int)(InputBytes - there) : 0;
        }
    }

    public void Receive(ReadOnlySpan<byte> data)
    {
        var producer = Get(InputProducer);
        foreach (var letter in data[..Math.Min(data.Length, ReceiveRoom)]) _page[producer++ % InputBytes] = letter;
        Set(InputProducer, producer);
        notify();
    }

    public void Event(CharEvent e)
    {
    }

    public void WriteReady() => Drain();

    private void Drain()
    {
        var (consumer, producer) = (Get(OutputConsumer), Get(OutputProducer));
        if (producer == consumer) return;
        if (producer - consumer > OutputBytes)
        {
            log.Guest("console", $"{producer - consumer} bytes in a ring of {OutputBytes}: dropped");
            consumer = producer;
        }

        while (consumer != producer)
        {
            var at = consumer % OutputBytes;
            var count = (int)Math.Min(producer - consumer, OutputBytes - at);
            var taken = _backend?.Write(new ReadOnlySpan<byte>(_page + OutputAt + at, count)) ?? count;
            consumer += (uint)taken;
            if (taken < count) break;
        }

        if (consumer == Get(OutputConsumer)) return;
        Set(OutputConsumer, consumer);
        notify();
    }

    private uint Get(int at) => Unsafe.ReadUnaligned<uint>(_page + at);

    private void Set(int at, uint value) => Unsafe.WriteUnaligned(_page + at, value);
}
