namespace XenDM.Hypervisor.Embedded.Xen.Events;

/// <summary>The event ABI that every guest starts with: a bit a port in shared_info, and a bit a word in vcpu_info (xen/common/event_2l.c).</summary>
internal sealed class TwoLevelEvents(SharedInfo shared)
{
    public bool IsPending(uint port) => shared.IsPending(port);

    public bool IsMasked(uint port) => shared.IsMasked(port);

    public void ClearPending(uint port) => shared.ClearPending(port);

    /// <summary>Marks a port.</summary>
    /// <param name="tell">The vCPU has to look: no other port told it before.</param>
    /// <returns>The port was not pending.</returns>
    public bool SetPending(uint port, XenVcpu vcpu, out bool tell)
    {
        tell = false;
        if (!shared.TrySetPending(port)) return false;
        tell = !shared.IsMasked(port) && vcpu.TrySelect((int)port / shared.LongBits, shared.Is64);
        return true;
    }

    /// <returns>The vCPU has to look.</returns>
    public bool Unmask(uint port, XenVcpu vcpu)
    {
        shared.ClearMask(port);
        return shared.IsPending(port) && vcpu.TrySelect((int)port / shared.LongBits, shared.Is64);
    }
}
