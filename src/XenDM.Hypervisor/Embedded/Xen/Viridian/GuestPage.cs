using XenDM.Core.State;

namespace XenDM.Hypervisor.Embedded.Xen.Viridian;

/// <summary>
/// A page that the guest names in an MSR (bit 0 enables it, its frame is above bit 11) and that the hypervisor writes into. It is held meanwhile, so that
/// the guest may take it away.
/// </summary>
internal sealed class GuestPage(Physmap physmap) : IStateful
{
    private const ulong Enable = 1;
    private nint _host;
    private ulong _value;

    /// <summary>The MSR.</summary>
    public ulong Value => _value;

    /// <summary>0: not enabled, or there is no RAM at the frame.</summary>
    public nint Host => _host;

    /// <summary>A frame without RAM is no error for the guest, and is not written to.</summary>
    public void Set(ulong value)
    {
        Drop();
        _value = value;
        if ((value & Enable) != 0 && physmap.TryHold(value >> 12, out var host)) _host = host;
    }

    public void Written()
    {
        if (_host != 0) physmap.Written(_host);
    }

    /// <summary>After the RAM was reset: nothing is held any more.</summary>
    public void Forget() => (_host, _value) = (0, 0);

    private void Drop()
    {
        if (_host != 0) physmap.Release(_host);
        _host = 0;
    }

    void IStateful.State(StateVisitor s) => s.U64("value", ref _value);
}
