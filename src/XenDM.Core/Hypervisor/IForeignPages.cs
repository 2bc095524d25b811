using System;

namespace XenDM.Core.Hypervisor;

/// <summary>
/// Mapping a guest's pages by frame number, which takes a privilege over the guest: for the few PV protocols that have no grants.
/// </summary>
public interface IForeignPages
{
    /// <summary>Maps pages of a guest's RAM.</summary>
    /// <param name="frames">Guest frame numbers, as the guest wrote them; machine frame numbers of a PV guest.</param>
    /// <param name="writable">They are written too.</param>
    /// <returns>Null when one of them is not there, or they cannot be mapped.</returns>
    IGrantMapping? TryMap(int domain, ReadOnlySpan<ulong> frames, bool writable);
}
