using XenDM.Core.State;

namespace XenDM.Hypervisor.Embedded.Xen.Events;

/// <summary>
/// How a vCPU is told of events (HVM_PARAM_CALLBACK_IRQ, xen/public/hvm/params.h; xen/arch/x86/hvm/irq.c). A line follows evtchn_upcall_pending
/// of vCPU 0; a vector is injected past the local APIC for as long as the byte is set; HVMOP_set_evtchn_upcall_vector gives a vCPU an edge at its
/// local APIC instead.
/// </summary>
internal sealed class Upcall(EmbeddedMachine machine, XenVcpu[] vcpus) : IStateful
{
    private enum Method : byte
    {
        None,
        Gsi,
        PciIntx,
        Vector,
    }

    private const int MethodShift = 56;
    private const int Gsis = 48;
    private Method _method;
    private byte _number;
    private byte _pin;
    private bool _asserted;

    /// <summary>Interrupts come to every vCPU by a vector of the guest's choice.</summary>
    public bool IsVector => _method == Method.Vector;

    public void Reset()
    {
        Drive(false);
        _method = Method.None;
        _number = _pin = 0;
    }

    /// <summary>The guest set the parameter: bits 63:56 say how.</summary>
    public void Set(ulong via)
    {
        Drive(false);
        _number = _pin = 0;
        switch (via >> MethodShift)
        {
            case 0 when (byte)via is > 0 and < Gsis:
                (_method, _number) = (Method.Gsi, (byte)via);
                break;
            case 1:
                (_method, _number, _pin) = (Method.PciIntx, (byte)((via >> 11) & 31), (byte)(via & 3));
                break;
            case 2:
                (_method, _number) = (Method.Vector, (byte)via);
                break;
            default:
                _method = Method.None;
                break;
        }

        foreach (var vcpu in vcpus) machine.UpdateInterrupt(vcpu.Index);
        Follow();
    }

    /// <summary>evtchn_upcall_pending of the vCPU was set.</summary>
    public void Raise(XenVcpu vcpu)
    {
        vcpu.Wake();
        if (vcpu.UpcallVector != 0) machine.RaiseLocalVector(vcpu.Index, vcpu.UpcallVector);
        if (IsVector) machine.UpdateInterrupt(vcpu.Index);
        else if (vcpu.UpcallVector == 0 && vcpus[0].UpcallVector == 0 && vcpu.Index == 0) Follow();
    }

    /// <summary>The vector that the vCPU takes before any other interrupt, or -1.</summary>
    public int Pending(XenVcpu vcpu) => _method == Method.Vector && vcpu.UpcallPending ? _number : -1;

    /// <summary>
    /// The line follows the byte of vCPU 0, which the guest clears by a plain write: looked at before anything that could see the line's level.
    /// </summary>
    public void Follow()
    {
        if (_method is Method.Gsi or Method.PciIntx) Drive(vcpus[0].UpcallPending && vcpus[0].UpcallVector == 0);
    }

    /// <summary>The line may have to be dropped.</summary>
    public bool IsAsserted => _asserted;

    private void Drive(bool level)
    {
        if (level == _asserted) return;
        _asserted = level;
        if (_method == Method.Gsi) machine.Router.SetCallbackGsi(level ? _number : 0);
        else machine.Router.SetPciIntx(_number, _pin, level);
    }

    public void State(StateVisitor s)
    {
        s.Enum("method", ref _method);
        s.U8("number", ref _number);
        s.U8("pin", ref _pin);
        s.Bool("asserted", ref _asserted);
    }
}
